//! What the core is given beside datagrams, and what it wants done.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::roster::Told;
use crate::model::NodeId;

/// Somebody who may be of the cluster, to be asked first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    /// Its name, where that is known; else whoever answers.
    pub node: Option<NodeId>,
    /// Where it is.
    pub address: SocketAddr,
}

/// To whom a datagram goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A member; its addresses are in the view.
    Member(NodeId),
    /// A seed, perhaps of unknown name.
    Seed(Seed),
}

/// What the core wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a datagram of at most [`super::MAX_DATAGRAM`] bytes. It may be lost.
    Send {
        /// To whom.
        to: Recipient,
        /// What.
        bytes: Bytes,
    },
    /// [`super::Membership::view`] has changed.
    Changed,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that could not be read, were too long, or named a member that cannot be.
    pub malformed: u64,
    /// Times that this node took a new number because others held it for dead, or another claimed its name.
    pub renewed: u64,
    /// Members that this node suspected by itself.
    pub suspected: u64,
    /// Members that this node declared dead by itself.
    pub declared: u64,
    /// Times that this node found that it had been paused or starved.
    pub late: u64,
}

/// A member as another is acquainted with it from the start; for simulations of large clusters. Shares its memory.
#[derive(Clone)]
pub struct Acquaintance {
    pub(super) name: NodeId,
    pub(super) number: u64,
    pub(super) told: Option<Arc<Told>>,
}

/// What this node tells does not fit [`crate::mesh::member::MAX_META_BYTES`] or has too many addresses; nothing has
/// changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the node tells about itself is too large for gossip")]
pub struct TooLarge;
