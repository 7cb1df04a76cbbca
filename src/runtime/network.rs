//! The network of pods: traits and values. `network/bridge.rs` connects the pods of one node, `network/routes.rs` leads to
//! those of other nodes; their fakes are in `hollow`.

pub mod bridge;
mod firewall;
mod ledger;
mod link;
pub mod routes;
mod sysctl;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use async_trait::async_trait;

use super::Error;

pub use crate::model::Cidr;
pub use routes::{PeerRoute, PodRoutes};

/// Gives pods their network.
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Makes (or finds again, after a restart) the pod's pinned namespaces, its address and its host ports.
    ///
    /// # Errors
    /// Where no address is free, a host port is taken, or the kernel refuses.
    async fn attach(&self, pod: &PodAttachment) -> Result<PodAddresses, Error>;

    /// Takes all of it away again. Detaching what is not attached is fine.
    ///
    /// # Errors
    /// Where the kernel refuses.
    async fn detach(&self, pod_uid: &str) -> Result<(), Error>;

    /// Pod uids that are attached.
    ///
    /// # Errors
    /// Where the kernel refuses.
    async fn attached(&self) -> Result<Vec<String>, Error>;
}

/// A pod to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAttachment {
    /// Uid of the pod.
    pub pod_uid: String,
    /// Hostname to set in its UTS namespace.
    pub hostname: String,
    /// The pod uses the node's network: no namespace, no address of its own.
    pub host_network: bool,
    /// The pod uses the node's IPC namespace.
    pub host_ipc: bool,
    /// Ports of the node that lead to the pod.
    pub host_ports: Vec<HostPort>,
}

/// A port of the node that leads to a port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// Address (unspecified for all) and port on the node.
    pub host: SocketAddr,
    /// Port in the pod.
    pub container_port: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// What an attached pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAddresses {
    /// Its addresses, first the primary one; the node's own for `hostNetwork`.
    pub ips: Vec<IpAddr>,
    /// Pinned network namespace; `None` for `hostNetwork`.
    pub network_namespace: Option<PathBuf>,
    /// Pinned IPC namespace; `None` for `hostIPC`.
    pub ipc_namespace: Option<PathBuf>,
    /// Pinned UTS namespace; `None` for `hostNetwork`.
    pub uts_namespace: Option<PathBuf>,
}
