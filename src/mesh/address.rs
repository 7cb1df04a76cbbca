//! Who is called, and how a call can fail.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::NodeId;

/// An actor that a node exports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The node.
    pub node: NodeId,
    /// The actor's name there; at most [`MAX_ACTOR_NAME`] bytes.
    pub actor: Arc<str>,
}

/// Longest name of an actor, in bytes.
pub const MAX_ACTOR_NAME: usize = 128;

impl Address {
    /// The actor `actor` of `node`.
    pub fn new(node: &NodeId, actor: &str) -> Self {
        Self { node: node.clone(), actor: actor.into() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.actor, self.node)
    }
}

/// What a stream carries; each peer has one long-lived stream per class, with a bound and a priority of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Consensus: votes, appends. First.
    Raft,
    /// Calls between actors.
    Control,
    /// Changes that somebody watches.
    Watch,
    /// Logs, exec, images, snapshots. Last.
    Bulk,
}

/// Why a call has no answer. Each variant says whether it may have been carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The node cannot be reached; nothing was sent.
    #[error("{0} cannot be reached")]
    Unreachable(NodeId),
    /// No answer within the deadline; the call may have been carried out.
    #[error("no answer within the deadline")]
    Timeout,
    /// The connection ended before the answer; the call may have been carried out.
    #[error("the connection to {0} ended before the answer")]
    Lost(NodeId),
    /// The other side says no; nothing was done, unless the refusal says otherwise.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The queue to the node is full; nothing was sent.
    #[error("too much waits for {0}")]
    Shed(NodeId),
}

/// What the other side says no with. Travels on the wire: variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such actor there.
    #[error("there is no actor {0:?}")]
    UnknownActor(String),
    /// The actor does not know the message.
    #[error("the message cannot be read: {0}")]
    UnknownMessage(String),
    /// The message is newer or older than what the actor reads.
    #[error("version {asked} of the message is not spoken there ({oldest} to {newest} are)")]
    Version {
        /// The message's.
        asked: u16,
        /// Oldest that is read.
        oldest: u16,
        /// Newest that is read.
        newest: u16,
    },
    /// The bound on calls under way there is reached.
    #[error("too many calls are under way")]
    Busy,
    /// The caller may not.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The caller's term of office has ended.
    #[error("the caller's epoch is stale")]
    Fenced,
    /// The actor has failed at it; whether anything was done is the actor's to say.
    #[error("{0}")]
    Failed(String),
}
