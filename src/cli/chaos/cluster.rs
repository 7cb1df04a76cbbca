//! The cluster of a run: founded, joined and waited for, then handed to faults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::door::Door;
use super::ground::Ground;
use super::machine::Machine;
use super::scenario::Scenario;
use crate::cli::actors::QUORUM;
use crate::cli::client::resources::{items, text};
use crate::cli::failure::Failure;

/// How long the cluster may take to stand.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long one answer may take meanwhile.
const ANSWER: Duration = Duration::from_secs(5);
/// How often is looked.
const POLL: Duration = Duration::from_millis(100);

/// Nodes and the ground that they stand on. Dropping it ends and removes both, in this order.
pub struct Cluster {
    /// The nodes.
    pub machines: Vec<Machine>,
    /// The ground.
    pub ground: Ground,
    kubeconfig: String,
    logs: Option<PathBuf>,
}

impl Cluster {
    /// Founds a cluster, and waits until every node is Ready and votes as it should.
    ///
    /// # Errors
    /// Where a node cannot be started, ends, or is not Ready in time.
    pub async fn found(scenario: &Scenario, ground: Ground, logs: Option<PathBuf>) -> Result<Self, Failure> {
        let machines = ground.plots().iter().map(|plot| Machine::new(plot.clone(), scenario)).collect::<Result<_, _>>()?;
        let mut cluster = Self { machines, ground, kubeconfig: String::new(), logs };
        cluster.ground.prepare_cuts().await?;
        cluster.start(scenario).await?;
        Ok(cluster)
    }

    async fn start(&mut self, scenario: &Scenario) -> Result<(), Failure> {
        let mut seed: Option<(String, String)> = None;
        for nth in 0..self.machines.len() {
            let machine = self.machine(nth)?;
            machine.start(seed.as_ref().map(|(at, token)| (at.as_str(), token.as_str())))?;
            if seed.is_none() {
                let at = machine.plot.at();
                self.kubeconfig = self.credentials().await?;
                self.wait("n1 is not Ready", Self::founder_is_ready).await?;
                seed = Some((at, self.token().await?));
            }
        }
        let doors = self.doors(scenario.load.request_timeout).await?;
        self.wait_with(&doors, "not every node is Ready", all_ready).await?;
        self.wait_with(&doors, "the quorum is not complete", quorum_is_complete).await
    }

    fn machine(&mut self, nth: usize) -> Result<&mut Machine, Failure> {
        self.machines.get_mut(nth).ok_or_else(|| Failure::new(format!("there is no {}", Scenario::node_name(nth))))
    }

    /// A founder may be Ready before the namespace is there that tokens are kept in.
    async fn token(&mut self) -> Result<String, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.machine(0)?.command(&["token", "create", "--ttl", "1h"]).await {
                Ok(token) => return Ok(token),
                Err(failure) => self.still_starting(&format!("no token: {}", failure.message()), deadline).await?,
            }
        }
    }

    /// The admin's, which the founder writes when it starts.
    async fn credentials(&mut self) -> Result<String, Failure> {
        let path = self.machine(0)?.plot.data.join("admin.kubeconfig");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) if !text.is_empty() => return Ok(text),
                _ => self.still_starting("n1 has written no admin.kubeconfig", deadline).await?,
            }
        }
    }

    async fn still_starting(&mut self, lacks: &str, deadline: Instant) -> Result<(), Failure> {
        if let Some(death) = self.deaths().into_iter().next() {
            return Err(Failure::new(death));
        }
        if Instant::now() > deadline {
            let logs: String = self.machines.iter().map(|m| format!("\n{}:\n{}", m.plot.name, m.log_tail())).collect();
            return Err(Failure::new(format!("{lacks} after {PATIENCE:?}{logs}")));
        }
        sleep(POLL).await;
        Ok(())
    }

    async fn wait(&mut self, lacks: &str, ready: impl AsyncFn(&Door) -> Result<(), String>) -> Result<(), Failure> {
        let at = self.machine(0)?.plot.at();
        let door = Door::new(&self.kubeconfig, &at, ANSWER).await?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(why) = ready(&door).await {
            self.still_starting(&format!("{lacks} ({why})"), deadline).await?;
        }
        Ok(())
    }

    async fn founder_is_ready(door: &Door) -> Result<(), String> {
        ready(door, 1).await
    }

    async fn wait_with(
        &mut self,
        doors: &[Door],
        lacks: &str,
        there: impl AsyncFn(&[Door]) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(why) = there(doors).await {
            self.still_starting(&format!("{lacks} ({why})"), deadline).await?;
        }
        Ok(())
    }

    /// New connections to every node's API.
    ///
    /// # Errors
    /// Where the admin's credentials cannot be used.
    pub async fn doors(&self, patience: Duration) -> Result<Vec<Door>, Failure> {
        let mut doors = Vec::new();
        for machine in &self.machines {
            doors.push(Door::new(&self.kubeconfig, &machine.plot.at(), patience).await?);
        }
        Ok(doors)
    }

    /// Processes that have ended by themselves since the last question.
    pub fn deaths(&mut self) -> Vec<String> {
        self.machines.iter_mut().filter_map(Machine::death).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(dir) = &self.logs else { return };
        if let Err(error) = self.keep_logs(dir) {
            eprintln!("cannot keep logs in {}: {error}", dir.display());
        }
    }
}

impl Cluster {
    fn keep_logs(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for machine in &self.machines {
            let plot = &machine.plot;
            if plot.log().exists() {
                std::fs::copy(plot.log(), dir.join(format!("{}.log", plot.name)))?;
            }
        }
        Ok(())
    }
}

/// Whether every node's API shows every node Ready.
pub async fn all_ready(doors: &[Door]) -> Result<(), String> {
    for (nth, door) in doors.iter().enumerate() {
        ready(door, doors.len()).await.map_err(|why| format!("{}: {why}", Scenario::node_name(nth)))?;
    }
    Ok(())
}

async fn ready(door: &Door, nodes: usize) -> Result<(), String> {
    let list = door.get("/api/v1/nodes").await?;
    let is_ready = |node: &&Value| {
        let conditions = items(node.get("status").unwrap_or(&Value::Null), "conditions");
        conditions.iter().any(|told| text(told, "/type") == "Ready" && text(told, "/status") == "True")
    };
    let ready: Vec<String> =
        items(&list, "items").iter().filter(is_ready).map(|node| text(node, "/metadata/name")).collect();
    if ready.len() >= nodes { Ok(()) } else { Err(format!("{} of {nodes} nodes are Ready: {}", ready.len(), ready.join(","))) }
}

/// Whether as many nodes vote as a cluster of this size has voters by default, and one leads.
async fn quorum_is_complete(doors: &[Door]) -> Result<(), String> {
    let door = doors.first().ok_or("there is no node")?;
    let said = door.get(QUORUM).await?;
    let votes = |replica: &&Value| ["leader", "voter"].contains(&text(replica, "/standing").as_str());
    let voters = items(&said, "replicas").iter().filter(votes).count();
    let wanted = match doors.len() {
        0..3 => 1,
        3..7 => 3,
        _ => 5,
    };
    let led = said.get("leader").is_some_and(Value::is_string);
    if voters >= wanted && led { Ok(()) } else { Err(format!("{voters} of {wanted} vote: {said}")) }
}
