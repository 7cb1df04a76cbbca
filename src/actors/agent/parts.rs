//! What an agent is given: the node it is, the doors it uses, and the objects it follows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::puller::ImagePuller;
use crate::actors::executor::Executor;
use crate::model::{ObjectKey, Revision, Scope};
use crate::runtime::logs::LogSource;
use crate::runtime::probe::Prober;
use crate::runtime::volume::Volumes;
use crate::runtime::{ContainerRuntime, PodNetwork};
use crate::store::watch::Batch;
use crate::store::{Error, Record, Store, Watch};
use crate::world::clock::Clock;

/// Containers that are made or started at the same time on one node; more wait.
pub const MAX_STARTS: usize = 8;

/// What is true of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its name.
    pub name: String,
    /// Its addresses, the primary one first.
    pub ips: Vec<IpAddr>,
    /// Port of its API.
    pub api_port: u16,
    /// Addresses of its pods, e.g. `10.244.0.0/24`.
    pub pod_cidr: String,
    /// Labels besides those that every node has.
    pub labels: BTreeMap<String, String>,
    /// The machine.
    pub machine: Machine,
    /// Directory of pods' logs.
    pub log_root: PathBuf,
    /// Address of the cluster DNS; `None` where there is none (pods then use the node's servers).
    pub cluster_dns: Option<IpAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The node's own `/etc/resolv.conf`, as text.
    pub resolv_conf: String,
    /// Most pods.
    pub max_pods: u32,
    /// After how much silence the quorum decides on a node's death (`plan::liveness`); the same on all.
    pub decide_after: Duration,
}

/// What the node's machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Cores.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of the file system that pods write to.
    pub disk_bytes: u64,
    /// Of `nodeInfo`.
    pub machine_id: String,
    /// Of `nodeInfo`.
    pub system_uuid: String,
    /// Of `nodeInfo`.
    pub boot_id: String,
    /// Of `nodeInfo`.
    pub kernel_version: String,
    /// Of `nodeInfo`, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// As Go spells it: `amd64`, `arm64`.
    pub architecture: String,
}

/// Everything that the agent and its pods use. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// The node.
    pub node: Arc<NodeSettings>,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Containers and images.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Addresses of pods.
    pub network: Arc<dyn PodNetwork>,
    /// Volumes and files of pods.
    pub volumes: Arc<dyn Volumes>,
    /// Probes over the network.
    pub prober: Arc<dyn Prober>,
    /// Logs of containers.
    pub logs: Arc<dyn LogSource>,
    /// Objects.
    pub objects: Arc<dyn Objects>,
    /// Writes.
    pub executor: Arc<dyn Executor>,
    /// Pulls, each image once at a time.
    pub puller: Arc<ImagePuller>,
    /// Bounds containers that are made at the same time; see [`MAX_STARTS`].
    pub starts: Arc<Semaphore>,
    /// Whether the cluster still hears this node.
    pub quorum: Arc<dyn Quorum>,
}

/// Whoever can say that this node has not been given up.
#[async_trait]
pub trait Quorum: Send + Sync + 'static {
    /// Asks who leads; true once the answer is here, and with it everything that was committed before. May take seconds
    /// where nobody answers. Cancel-safe.
    async fn answers(&self) -> bool;
}

#[async_trait]
impl Quorum for Store {
    async fn answers(&self) -> bool {
        self.barrier().await.is_ok()
    }
}

/// Objects as the agent reads them.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// One object, now.
    fn get(&self, key: &ObjectKey) -> Option<Arc<Record>>;

    /// All objects of a scope, and the revision of the list.
    fn list(&self, scope: &Scope) -> Result<(Vec<Arc<Record>>, Revision), Error>;

    /// Changes after `from`.
    fn watch(&self, scope: Scope, from: Revision) -> Result<Box<dyn Changes>, Error>;
}

/// A stream of changes.
#[async_trait]
pub trait Changes: Send {
    /// Waits for the next ones. Cancel-safe.
    async fn next(&mut self) -> Result<Batch, Error>;
}

#[async_trait]
impl Objects for Store {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Record>> {
        Store::get(self, key)
    }

    fn list(&self, scope: &Scope) -> Result<(Vec<Arc<Record>>, Revision), Error> {
        let page = Store::list(self, scope, None, None, 0)?;
        Ok((page.records, page.revision))
    }

    fn watch(&self, scope: Scope, from: Revision) -> Result<Box<dyn Changes>, Error> {
        Ok(Box::new(Store::watch(self, scope, from)?))
    }
}

#[async_trait]
impl Changes for Watch {
    async fn next(&mut self) -> Result<Batch, Error> {
        Watch::next(self).await
    }
}
