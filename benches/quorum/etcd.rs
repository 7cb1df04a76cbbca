//! etcd's members, each a process of its own, and their clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cluster::ports;
use super::figures::processor_of;
use super::protocol::{Gap, Samples};
use super::wire::{Empty, MoveLeader, Put, Range, Ranged, RequestOp, Status, Txn, Wire};
use super::work::{self, AGAIN_AFTER, BATCH, CHANGE_EVERY, KEYS, repeat, value};
use crate::Failure;
use crate::paper::{Authority, Paper};

/// Clients that share a connection.
const CLIENTS_OF_CONNECTION: usize = 16;
/// Connections over which watchers are spread, each with one stream.
const WATCH_CONNECTIONS: usize = 16;
/// Bound on a start, until a leader is known.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A client gives a request up after this, as ours does.
const PATIENCE: Duration = Duration::from_secs(5);
/// Batches at a time while filling.
const BATCHES: usize = 8;
const ONE: &str = "one";

/// The cluster.
pub struct Etcd {
    members: Vec<Member>,
    paper: Paper,
    /// As of the start, or the last change.
    pub leader: usize,
}

struct Member {
    process: Child,
    arguments: Vec<String>,
    dir: PathBuf,
    at: SocketAddr,
}

impl Etcd {
    pub async fn start(dir: &Path, authority: &Authority, number: usize) -> Result<Self, Failure> {
        let (clients, peers) = (ports(number)?, ports(number)?);
        let papers = dir.join("papers");
        let named = |n: usize| format!("e{}", n + 1);
        let cluster: Vec<String> =
            peers.iter().enumerate().map(|(n, at)| format!("{}=https://{at}", named(n))).collect();
        let mut members = Vec::new();
        for n in 0..number {
            authority.node(&named(n)).write(&papers, &named(n))?;
            let arguments = arguments(&named(n), dir, &papers, clients[n], peers[n], &cluster.join(","));
            let dir = dir.join(named(n));
            members.push(Member { process: spawn(&arguments, &dir)?, arguments, dir, at: clients[n] });
        }
        let mut etcd = Self { members, paper: authority.node("client"), leader: 0 };
        etcd.settle().await?;
        Ok(etcd)
    }

    /// Waits until a leader is known; notes which.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + READY_WITHIN;
        while Instant::now() < until {
            for n in 0..self.members.len() {
                let Ok(status) = self.status(n).await else { continue };
                if status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader) {
                    self.leader = n;
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("etcd has no leader".into())
    }

    async fn status(&self, n: usize) -> Result<Status, Failure> {
        self.wire(n).await?.call("Maintenance/Status", &Empty {}).await
    }

    async fn wire(&self, n: usize) -> Result<Wire, Failure> {
        tokio::time::timeout(PATIENCE, Wire::connect(self.members[n].at, &self.paper)).await?
    }

    async fn wires(&self, n: usize, number: usize) -> Result<Vec<Wire>, Failure> {
        let mut wires = Vec::new();
        for _ in 0..number {
            wires.push(self.wire(n).await?);
        }
        Ok(wires)
    }

    pub fn processor(&self) -> Duration {
        self.members.iter().map(|member| processor_of(member.process.id())).sum()
    }

    pub fn pid(&self, n: usize) -> u32 {
        self.members[n].process.id()
    }

    pub async fn write(&self, clients: usize, millis: u64, bytes: usize) -> Result<Samples, Failure> {
        let wires = self.wires(self.leader, clients.div_ceil(CLIENTS_OF_CONNECTION)).await?;
        let value = value(bytes);
        repeat(clients, millis, move |client, n| {
            let wire = wires[client % wires.len()].clone();
            let put = Put { key: format!("bench/{client}-{}", n % KEYS).into(), value: value.clone() };
            async move { wire.call::<Empty>("KV/Put", &put).await.map(drop) }
        })
        .await
    }

    pub async fn read(&self, clients: usize, millis: u64) -> Result<Samples, Failure> {
        let wires = self.wires(self.leader, clients.div_ceil(CLIENTS_OF_CONNECTION)).await?;
        wires[0].call::<Empty>("KV/Put", &Put { key: ONE.into(), value: value(1024) }).await?;
        repeat(clients, millis, move |client, _| {
            let wire = wires[client % wires.len()].clone();
            async move {
                let found: Ranged = wire.call("KV/Range", &Range { key: ONE.into() }).await?;
                if found.count == 1 { Ok(()) } else { Err("it is gone".into()) }
            }
        })
        .await
    }

    pub async fn watch(&self, watchers: usize, changes: usize) -> Result<Samples, Failure> {
        let wires = self.wires(self.leader, WATCH_CONNECTIONS).await?;
        let each = watchers / WATCH_CONNECTIONS;
        let (seen, mut sightings) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for wire in &wires {
            let (mut watches, seen) = (wire.watch(ONE, each).await?, seen.clone());
            tasks.spawn(async move {
                while let Ok(watched) = watches.next().await {
                    for _ in watched.events {
                        let _ = seen.send(Instant::now());
                    }
                }
            });
        }
        let (started, mut micros) = (Instant::now(), Vec::new());
        for _ in 0..changes {
            tokio::time::sleep(CHANGE_EVERY).await;
            let before = Instant::now();
            wires[0].call::<Empty>("KV/Put", &Put { key: ONE.into(), value: value(1024) }).await?;
            for _ in 0..each * WATCH_CONNECTIONS {
                let at = sightings.recv().await.ok_or("the watchers ended")?;
                micros.push(u32::try_from(at.saturating_duration_since(before).as_micros())?);
            }
        }
        Ok(Samples { micros, seconds: started.elapsed().as_secs_f64() })
    }

    /// As [`work::load`], through member `n`; nothing is noted.
    pub async fn load(&self, n: usize, clients: usize, millis: u64) -> Result<Gap, Failure> {
        let (started, run) = (Instant::now(), Duration::from_millis(millis));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let wire = self.wire(n).await?;
            tasks.spawn(async move {
                let (mut times, mut errors, value) = (Vec::new(), 0, value(1024));
                while started.elapsed() < run {
                    let put = Put { key: format!("load/{client}").into(), value: value.clone() };
                    if matches!(tokio::time::timeout(PATIENCE, wire.call::<Empty>("KV/Put", &put)).await, Ok(Ok(_))) {
                        times.push(Instant::now());
                    } else {
                        errors += 1;
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
                (times, errors)
            });
        }
        let mut gap = Gap::default();
        let mut times = vec![started + run];
        for (acknowledged, errors) in tasks.join_all().await {
            gap.acknowledged += acknowledged.len();
            gap.errors += errors;
            times.extend(acknowledged);
        }
        gap.longest_micros = work::longest(times)?;
        Ok(gap)
    }

    /// Lets another member lead; gives microseconds.
    pub async fn hand_over(&self, to: usize) -> Result<u64, Failure> {
        let target = self.status(to).await?.header.ok_or("no header")?.member_id;
        let (wire, before) = (self.wire(self.leader).await?, Instant::now());
        wire.call::<Empty>("Maintenance/MoveLeader", &MoveLeader { target }).await?;
        Ok(u64::try_from(before.elapsed().as_micros())?)
    }

    /// `kill -9`.
    pub fn kill(&mut self, n: usize) {
        self.members[n].kill();
    }

    /// Starts a killed member again.
    pub async fn restart(&mut self, n: usize) -> Result<(), Failure> {
        self.members[n].process = spawn(&self.members[n].arguments, &self.members[n].dir)?;
        let until = Instant::now() + READY_WITHIN;
        while !self.status(n).await.is_ok_and(|status| status.leader != 0) {
            if Instant::now() > until {
                return Err("etcd did not start again".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.settle().await
    }

    pub async fn fill(&self, objects: u64, bytes: usize) -> Result<(), Failure> {
        let (wire, value) = (self.wire(self.leader).await?, value(bytes));
        let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
        for from in (0..objects).step_by(BATCH) {
            if tasks.len() >= BATCHES {
                tasks.join_next().await.ok_or("a batch is under way")???;
            }
            let put = |n| Put { key: format!("object-{n:08}").into(), value: value.clone() };
            let success = (from..(from + BATCH as u64).min(objects)).map(|n| RequestOp { put: Some(put(n)) }).collect();
            let wire = wire.clone();
            tasks.spawn(async move { wire.call::<Empty>("KV/Txn", &Txn { success }).await.map(drop) });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }
}

impl Member {
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn arguments(
    name: &str,
    dir: &Path,
    papers: &Path,
    client: SocketAddr,
    peer: SocketAddr,
    cluster: &str,
) -> Vec<String> {
    let file = |name: String| papers.join(name).display().to_string();
    let (certificate, key) = (file(format!("{name}.pem")), file(format!("{name}.key")));
    let mut arguments = vec![
        format!("--name={name}"),
        format!("--data-dir={}", dir.join(name).display()),
        format!("--initial-cluster={cluster}"),
        format!("--initial-advertise-peer-urls=https://{peer}"),
        format!("--listen-peer-urls=https://{peer}"),
        format!("--listen-client-urls=https://{client}"),
        format!("--advertise-client-urls=https://{client}"),
        "--log-level=error".into(),
        // Beyond its default of 2 GB, which the part `objects` needs.
        "--quota-backend-bytes=8589934592".into(),
    ];
    for side in ["", "peer-"] {
        arguments.push(format!("--{side}cert-file={certificate}"));
        arguments.push(format!("--{side}key-file={key}"));
        arguments.push(format!("--{side}trusted-ca-file={}", file("ca.pem".into())));
        arguments.push(format!("--{side}client-cert-auth=true"));
    }
    arguments
}

fn spawn(arguments: &[String], dir: &Path) -> Result<Child, Failure> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.with_extension("log"))?;
    let started =
        Command::new("etcd").args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    started.map_err(|error| format!("etcd (Debian: apt-get install etcd-server): {error}").into())
}
