//! What clients do while things go wrong: `writer` keeps ConfigMaps of its own, `rollout` a deployment, `watcher` follows
//! everything that writers do, `observer` asks who leads.

pub mod observer;
pub mod rollout;
pub mod watcher;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::door::{Answer, Door, STALE_MISS};
use super::recorder::Recorder;
use super::scenario::Load;
use crate::cli::failure::Failure;
use crate::world::entropy::{Entropy, SystemEntropy};

/// The namespace of all that clients write.
pub const NAMESPACE: &str = "chaos";
/// The label by which watchers and lists choose it.
pub const LABEL: &str = "shoal-chaos";
/// Before a client asks the next node for what has failed.
pub const PAUSE: Duration = Duration::from_millis(50);
/// How often the namespace is tried to be made.
const TRIES: usize = 50;

/// What all clients share.
pub struct Shared {
    /// The nodes' APIs.
    pub doors: Vec<Door>,
    /// Where everything is written down.
    pub recorder: Recorder,
    /// What the scenario wants.
    pub load: Load,
}

/// Clients at work. Dropping it ends them.
pub struct Clients {
    writers: JoinSet<()>,
    watchers: JoinSet<()>,
    observers: JoinSet<()>,
    stop: watch::Sender<bool>,
    goal: watch::Sender<Option<u64>>,
}

impl Clients {
    /// Starts everything that the scenario wants.
    pub fn start(shared: &Arc<Shared>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (goal, reached) = watch::channel(None);
        let (mut writers, mut watchers, mut observers) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let entropy = SystemEntropy::new();
        for client in 0..shared.load.clients {
            writers.spawn(writer::Writer::new(shared.clone(), client, entropy.fork(), stopped.clone()).run());
        }
        for nth in 0..shared.load.deployments {
            writers.spawn(rollout::Rollout::new(shared.clone(), nth, stopped.clone()).run());
        }
        for nth in 0..shared.load.watchers {
            watchers.spawn(watcher::Watcher::new(shared.clone(), nth, reached.clone()).run());
        }
        for node in 0..shared.doors.len() {
            observers.spawn(observer::observe(shared.clone(), node));
        }
        Self { writers, watchers, observers, stop, goal }
    }

    /// Ends the writers; each finishes the request that it waits for.
    pub async fn stop_writing(&mut self) {
        self.stop.send_replace(true);
        while self.writers.join_next().await.is_some() {}
    }

    /// Waits until all watchers have come to a revision, for a time at most; then nobody is at work.
    pub async fn finish(mut self, last: Option<u64>, patience: Duration) {
        if last.is_some() {
            self.goal.send_replace(last);
            let all = async { while self.watchers.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(patience, all).await;
        }
        self.watchers.shutdown().await;
        self.observers.shutdown().await;
    }
}

/// Makes the namespace.
///
/// # Errors
/// Where no node does it in time.
pub async fn make_namespace(doors: &[Door]) -> Result<(), Failure> {
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let mut last = String::new();
    for door in doors.iter().cycle().take(TRIES) {
        match door.ask(Method::POST, "/api/v1/namespaces", Some((crate::cli::client::JSON, &body))).await {
            Answer::Done { .. } | Answer::Refused(409, _) => return Ok(()),
            Answer::StaleMiss => last = STALE_MISS.into(),
            Answer::Refused(code, why) | Answer::Unknown(code, why) => last = format!("{code} {why}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::new(format!("cannot make the namespace {NAMESPACE}: {last}")))
}

/// Path of ConfigMaps, or of one of them.
pub fn path(name: Option<&str>) -> String {
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps{name}")
}

/// The query that chooses what clients write.
pub fn selected() -> String {
    format!("{}?labelSelector={LABEL}", path(None))
}
