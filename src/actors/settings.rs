//! What a node is started with: plain values; `cli::settings` reads them from files, environment and flags.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::network::Cidr;

/// Everything a node must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Directory of all that must survive a restart: `pki/`, the store, images, pods.
    pub data: PathBuf,
    /// Directory of what lives only while the machine is up: pinned namespaces, sockets.
    pub run: PathBuf,
    /// Where the API listens, on TCP and UDP.
    pub listen: SocketAddr,
    /// Name of the node: a DNS label.
    pub name: String,
    /// Address by which others reach the node (`InternalIP`).
    pub address: IpAddr,
    /// Which runtime runs containers.
    pub runtime: RuntimeKind,
    /// Socket of the containerd daemon.
    pub containerd_socket: PathBuf,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Pod network.
    pub network: NetworkSettings,
    /// Who else there is, and what they are told.
    pub mesh: MeshSettings,
    /// The quorum, the control actors, and what follows a node's death.
    pub control: ControlSettings,
    /// Store.
    pub store: StoreSettings,
    /// Backups on a schedule.
    pub backup: BackupSettings,
    /// API server.
    pub api: ApiSettings,
    /// The node as a place to run pods.
    pub agent: AgentSettings,
    /// Names that this binary answers to in the built-in image (`sh`, ...).
    pub programs: &'static [&'static str],
    /// Image registries.
    pub registries: RegistrySettings,
}

/// Which runtime runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// containerd where its socket answers, else embedded.
    Auto,
    /// The containerd daemon.
    Containerd,
    /// The built-in OCI runtime.
    Embedded,
    /// Pretended containers.
    Hollow,
}

/// The node as a member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSettings {
    /// Members to join through, `host:port` each; empty for a node that founds a cluster or is a member already.
    pub join: Vec<String>,
    /// What a joining node shows to be let in.
    pub token: Option<Secret>,
    /// Failure domain that the node tells; empty where it has none.
    pub zone: String,
    /// How long the node's certificates are good for; they renew themselves long before.
    pub certificate_lifetime: Duration,
    /// Where others dial this node, best first; never empty.
    pub advertise: Vec<SocketAddr>,
}

/// Text that no log and no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// Pod network of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Pod addresses of this node, where the settings fix them; a member gets them assigned otherwise.
    pub pod_cidr: Option<Cidr>,
    /// Pod addresses of the cluster, which those of its nodes are cut from.
    pub cluster_cidr: Cidr,
    /// Prefix of the pod addresses that a node is assigned.
    pub node_prefix: u8,
    /// UDP port of VXLAN, between nodes that share no link.
    pub vxlan_port: u16,
    /// Service addresses of the cluster.
    pub service_cidr: Cidr,
    /// Name of the bridge; at most 15 bytes.
    pub bridge: String,
    /// Name of the nftables table.
    pub nft_table: String,
    /// MTU of pod interfaces in bytes; 0 for that of the way out.
    pub mtu: u32,
}

impl NetworkSettings {
    /// Pod addresses of a node that nobody assigned any: those of the settings, else the first of the cluster's.
    pub fn own_pod_cidr(&self) -> Cidr {
        let first = || format!("{}/{}", self.cluster_cidr.network(), self.node_prefix).parse();
        self.pod_cidr.or_else(|| first().ok()).unwrap_or(self.cluster_cidr)
    }

    /// Pod addresses of the cluster as a node with the range `own` sees them: those of the settings, or, where the
    /// settings put the node elsewhere, its own alone.
    pub fn cluster_range(&self, own: Cidr) -> Cidr {
        if self.cluster_cidr.contains(own.network()) { self.cluster_cidr } else { own }
    }
}

/// The quorum, the control actors, and what follows a node's death. Those of the node that leads count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlSettings {
    /// Most voters: 1, 3 or 5.
    pub voters_max: u8,
    /// How long a voter is dead before another node votes instead.
    pub replace_after: Duration,
    /// Within which a node that has died is declared dead. Must be the same on every node: see `plan::fencing`.
    pub declare_after: Duration,
    /// How long pods that say nothing themselves stay on a node that is not ready or not reachable.
    pub default_toleration: Duration,
    /// A leader whose syncs take longer than this (99 of 100) hands over.
    pub slow_disk: Duration,
}

/// Store of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSettings {
    /// How long old revisions stay readable.
    pub history: Duration,
    /// Bytes of log after which the state is written as a whole and the log cut.
    pub snapshot_bytes: u64,
}

/// Backups on a schedule. Those of the node that leads count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// Where to; empty for none.
    pub directory: PathBuf,
    /// How often.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

/// API server of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiSettings {
    /// Requests (streams not counted) that are worked on at once; further ones get 429.
    pub max_in_flight: usize,
}

/// The node as a place to run pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentSettings {
    /// Pods that fit on the node.
    pub max_pods: u32,
    /// Images that are pulled at once.
    pub parallel_pulls: usize,
}

/// Image registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Registries (`host` or `host:port`) that are reached without TLS. Loopback addresses always are.
    pub insecure: Vec<String>,
}
