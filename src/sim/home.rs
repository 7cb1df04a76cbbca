//! The simulated machine that outlives the node on it: disk, containers, volumes; and how a node starts there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;

use super::client::{Answer, Api, Ask, Client};
use super::clock::SimClock;
use crate::actors::agent::ImagePuller;
use crate::actors::agent::parts::{Machine as AgentMachine, NodeSettings as AgentSettings};
use crate::actors::node::{Node, NodeParts};
use crate::api::admission::ServiceAddresses;
use crate::api::authn::Peer;
use crate::api::body::{self, Body};
use crate::api::identity::Identity;
use crate::api::service::{Limits, Service};
use crate::model::Timestamp;
use crate::runtime::Phase;
use crate::runtime::hollow::{Hollow, HollowNetwork, Machine, MachineOptions, MemoryLogs};
use crate::runtime::probe::HollowProber;
use crate::runtime::volume::HollowVolumes;
use crate::store::{Driver, Store, StoreOptions};
use crate::world::World;
use crate::world::disk::sim::{Faults, SimDisk};
use crate::world::entropy::SeededEntropy;

/// When simulated time begins: 2026-01-01T00:00:00Z.
const ORIGIN: Timestamp = Timestamp(1_767_225_600_000_000);
/// Small, so that a run meets segment ends, snapshots and compaction often.
const SEGMENT_BYTES: u64 = 256 * 1024;
const SNAPSHOT_BYTES: u64 = 1024 * 1024;
const HISTORY_BYTES: u64 = 512 * 1024;
const HISTORY_AGE: Duration = Duration::from_mins(2);

/// A machine.
pub struct Home {
    /// What decides everything.
    pub seed: u64,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Its disk.
    pub disk: SimDisk,
    /// Its containers.
    pub machine: Arc<Machine>,
    /// Whether the disk may fail syncs in this life.
    faulty: AtomicBool,
    entropy: Arc<SeededEntropy>,
    volumes: Arc<HollowVolumes>,
}

/// A node that runs on it.
pub struct Started {
    /// A client of its API.
    pub client: Client,
    /// Its store.
    pub store: Store,
    node: Node,
}

impl Home {
    /// A fresh machine.
    pub fn new(seed: u64) -> Self {
        let clock = Arc::new(SimClock::new(ORIGIN));
        let disk = SimDisk::new(seed);
        let entropy = Arc::new(SeededEntropy::new(seed));
        let world = World { clock: clock.clone(), entropy: entropy.clone(), disk: disk.boot() };
        let spread = |most: u64| (Duration::from_millis(1), Duration::from_millis(most));
        let options = MachineOptions {
            pull_latency: spread(500),
            create_latency: spread(50),
            start_latency: spread(100),
            images: vec!["sim.local/app:1".into()],
            ..MachineOptions::default()
        };
        let machine = Machine::new(options, world);
        Self { seed, clock, disk, machine, faulty: AtomicBool::new(false), entropy, volumes: HollowVolumes::new() }
    }

    /// Sets what the disk does from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.faulty.store(faults.sync_fails > 0.0, Ordering::Relaxed);
        self.disk.set_faults(faults);
    }

    /// Starts a node on what the last one left. `None` where a fault (a failed sync at start) already stopped it.
    pub async fn start(&self) -> Result<Option<Started>, String> {
        let world = World { clock: self.clock.clone(), entropy: self.entropy.clone(), disk: self.disk.boot() };
        let options = StoreOptions {
            driver: Driver::Task,
            segment_bytes: SEGMENT_BYTES,
            snapshot_bytes: SNAPSHOT_BYTES,
            history_bytes: HISTORY_BYTES,
            history_age: HISTORY_AGE,
            ..StoreOptions::new(PathBuf::from("/data/store"), "sim")
        };
        let store = match Store::open(options, world.clone()).await {
            Ok(store) => store,
            Err(error) if self.faulty.load(Ordering::Relaxed) => {
                tracing::info!(%error, "the store did not open on a faulty disk");
                return Ok(None);
            }
            Err(error) => return Err(format!("INV-1 acknowledged-writes-survive: the store does not open: {error}")),
        };
        let runtime = Hollow::new(self.machine.clone());
        let parts = NodeParts {
            puller: ImagePuller::new(runtime.clone(), 4, None),
            runtime,
            network: HollowNetwork::new(self.machine.clone()),
            volumes: self.volumes.clone(),
            prober: HollowProber::new(),
            logs: MemoryLogs::new(self.machine.clone()),
            agent: agent(),
            services: ServiceAddresses::default(),
            default_toleration: Duration::from_secs(5),
            authority_pem: "simulated".into(),
            endpoint: SocketAddr::from(([127, 0, 0, 1], 6443)),
            limits: Limits::default(),
            store: store.clone(),
            world,
            mesh: None,
        };
        let node = Node::assemble(parts, |_| Vec::new()).await.map_err(|error| error.to_string())?;
        let client = client(node.service.clone());
        Ok(Some(Started { client, store, node }))
    }

    /// Pod uid and container name of everything that runs.
    pub fn running_containers(&self) -> Vec<(String, String)> {
        let running = self.machine.containers().into_iter();
        let running = running.filter(|one| matches!(one.phase, Phase::Running { .. }));
        running.map(|one| (one.id.pod_uid, one.id.container)).collect()
    }
}

impl Started {
    /// Waits until the node has ended by itself.
    pub async fn failed(&self) {
        self.node.failed().await;
    }
}

/// A node of a size that the workload can fill.
fn agent() -> AgentSettings {
    AgentSettings {
        name: "sim".into(),
        ips: vec![IpAddr::from([127, 0, 0, 1])],
        api_port: 6443,
        pod_cidr: "10.244.0.0/24".into(),
        labels: BTreeMap::new(),
        machine: AgentMachine { cpus: 8, memory_bytes: 16 << 30, disk_bytes: 64 << 30, ..AgentMachine::default() },
        log_root: PathBuf::from("/data/logs"),
        cluster_dns: None,
        cluster_domain: "cluster.local".into(),
        resolv_conf: String::new(),
        max_pods: 110,
        decide_after: Duration::from_millis(1_500),
    }
}

/// A client of a node's API in this process.
pub fn client(service: Arc<Service>) -> Client {
    Client(Arc::new(InProcess(service)))
}

/// The shipped request path without a socket under it.
struct InProcess(Arc<Service>);

impl Api for InProcess {
    fn ask(&self, ask: Ask) -> BoxFuture<'static, Answer> {
        let service = self.0.clone();
        async move {
            let (code, body) = call(&service, ask).await;
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_default() }
        }
        .boxed()
    }

    fn lines(&self, path: String) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Answer>> {
        let service = self.0.clone();
        async move {
            let (code, body) = call(&service, Ask { method: "GET", path, body: Value::Null }).await;
            if code == 200 {
                return Ok(lines(body).boxed());
            }
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Err(Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_default() })
        }
        .boxed()
    }
}

async fn call(service: &Service, ask: Ask) -> (u16, Body) {
    let content_type = if ask.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let bytes = if ask.body.is_null() { Bytes::new() } else { ask.body.to_string().into() };
    let request = Request::builder().method(ask.method).uri(&ask.path).header("content-type", content_type);
    let Ok(request) = request.body(body::full(bytes)) else { return (400, body::empty()) };
    let response = service.call(request, &Peer::local(Identity::admin())).await;
    (response.status().as_u16(), response.into_body())
}

/// The body as lines.
fn lines(body: Body) -> impl futures::Stream<Item = Bytes> {
    futures::stream::unfold((body, Vec::new()), |(mut body, mut rest)| async move {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                return Some((Bytes::from(line), (body, rest)));
            }
            let frame = body.frame().await?.ok()?;
            rest.extend_from_slice(frame.data_ref()?);
        }
    })
}
