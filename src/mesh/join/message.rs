//! The request to join and its answer. `MessagePack` with names, so that fields can be added: a reader skips what it
//! does not know, and what is missing has a default where it was not there from the first version.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::mesh::identity::token::Presented;
use crate::mesh::version::Versions;
use crate::model::NodeId;

/// Version of the exchange that this build speaks.
pub const JOIN_PROTOCOL: u16 = 1;
/// Most addresses in a message; more are refused.
const MAX_ADDRESSES: usize = 8;
/// Most peers in an answer; enough to find the others from.
pub const MAX_PEERS: usize = 64;

/// What a new node asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// [`JOIN_PROTOCOL`] of the new node.
    pub protocol: u16,
    /// The token, without its fingerprint.
    pub token: Presented,
    /// The name that the node wants.
    pub name: NodeId,
    /// Where it listens, best first; at most 8.
    pub addresses: Vec<SocketAddr>,
    /// Its release of the program, e.g. `0.1.0`.
    pub release: String,
    /// Request for the node's certificate (PKCS #10), PEM.
    pub node_csr_pem: String,
    /// Request for the certificate of the administrator's kubeconfig on that node; empty where none is wanted.
    #[serde(default)]
    pub admin_csr_pem: String,
    /// Failure domain; empty where not told.
    #[serde(default)]
    pub zone: String,
    /// What it has.
    #[serde(default)]
    pub capacity: Capacity,
    /// What it speaks in the mesh.
    #[serde(default)]
    pub mesh: Versions,
    /// Pod range that the node asks to keep, as where it was a member before; empty for any.
    #[serde(default)]
    pub pod_cidr: String,
}

impl std::fmt::Debug for JoinRequest {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("protocol", &self.protocol)
            .field("token", &self.token)
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("release", &self.release)
            .finish_non_exhaustive()
    }
}

/// What a machine has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capacity {
    /// Cores, thousandths.
    pub millicores: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// What a new node is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// It is a member now. The token counts one use more.
    Admitted(Box<Admission>),
    /// It is not; nothing has changed.
    Refused {
        /// Why.
        reason: JoinRefusal,
    },
}

/// What a member is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The name that it has.
    pub name: NodeId,
    /// Its certificate, then those between it and the authority, PEM.
    pub node_chain_pem: String,
    /// The administrator's; empty where none was asked for.
    #[serde(default)]
    pub admin_chain_pem: String,
    /// Every authority that the cluster believes, newest first, PEM.
    pub authorities_pem: String,
    /// Its number in the raft log's membership.
    pub raft_id: u64,
    /// Addresses.
    pub network: Network,
    /// Where others are, by name; at most 64.
    pub peers: Vec<(NodeId, Vec<SocketAddr>)>,
}

/// The cluster's ranges and names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Addresses of the new node's pods, e.g. `10.244.3.0/24`.
    pub pod_cidr: String,
    /// Addresses of services.
    pub service_cidr: String,
    /// Addresses of all pods.
    pub cluster_cidr: String,
    /// Domain of the cluster, e.g. `cluster.local`.
    pub cluster_domain: String,
    /// Service address of the API.
    pub api_service_ip: String,
}

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// The token will not do.
    #[error("the token {0}")]
    Token(TokenFault),
    /// A node of that name is a member already.
    #[error("a node named {0} is a member already; remove it first, or choose another name")]
    NameTaken(NodeId),
    /// The two releases do not understand each other.
    #[error("the cluster speaks versions {oldest} to {newest} of the join protocol; use a release that does")]
    Protocol {
        /// Oldest that the seed reads.
        oldest: u16,
        /// Newest that it reads.
        newest: u16,
    },
    /// Its release and that of a member do not understand each other.
    #[error("the cluster's nodes speak version {0} of the mesh, and this node does not; use a release that does")]
    Mesh(Versions),
    /// Too many join at once; try again.
    #[error("too many nodes are joining; try again")]
    Busy,
    /// The seed cannot reach the quorum, which must agree; try again, or another seed.
    #[error("the seed does not reach the cluster's quorum; try again, or another seed")]
    NoQuorum,
    /// Every range for pods is given away.
    #[error("the cluster has no range of pod addresses left")]
    NoRoom,
    /// The request cannot be read, or says what it must not.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// A reason that this release does not know.
    #[serde(other)]
    #[error("a reason that this release does not know")]
    Unknown,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TokenFault {
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// It has been used as often as it may.
    #[error("has been used up")]
    Spent,
    /// There is none like it, or its secret is wrong.
    #[error("is not valid for this cluster")]
    Unknown,
}

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be read: {0}")]
pub struct DecodeError(pub String);

/// A message's bounds beyond its size.
pub trait Bounded {
    /// What is over a bound.
    fn check(&self) -> Result<(), DecodeError>;
}

impl Bounded for JoinRequest {
    fn check(&self) -> Result<(), DecodeError> {
        match self.addresses.len() {
            0..=MAX_ADDRESSES => Ok(()),
            more => Err(DecodeError(format!("{more} addresses, {MAX_ADDRESSES} are allowed"))),
        }
    }
}

impl Bounded for JoinAnswer {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Admitted(admission) if admission.peers.len() > MAX_PEERS => {
                Err(DecodeError(format!("{} peers, {MAX_PEERS} are allowed", admission.peers.len())))
            }
            _ => Ok(()),
        }
    }
}

/// The bytes of a message. Fails only where a peer's own serializer would, which none here does.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, DecodeError> {
    rmp_serde::to_vec_named(message).map_err(|error| DecodeError(error.to_string()))
}

/// Reads a message; bytes after it are an error, as is what is over its bounds.
pub fn decode<T: DeserializeOwned + Bounded>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let message: T = rmp_serde::from_read(&mut rest).map_err(|error| DecodeError(error.to_string()))?;
    message.check()?;
    match rest {
        [] => Ok(message),
        rest => Err(DecodeError(format!("{} bytes too many", rest.len()))),
    }
}
