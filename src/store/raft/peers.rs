//! The door through which replicas talk: one call, a request and its answer. The store knows no mesh.

use std::io;

use async_trait::async_trait;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use super::confirm::Follows;
use super::transfer::Chunk;
use super::{LogId, Peer, Types};
use crate::model::Revision;
use crate::store::once::Ticket;
use crate::store::{Error, Outcome, Txn};

/// Carries requests to the stores of other nodes, where [`crate::store::Store::answer`] answers them.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Carries `request` to `target` and its answer back. The store bounds the time itself: it drops the future.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] and [`io::ErrorKind::ConnectionRefused`] say that the request certainly did not
    /// arrive; after any other error it may have been carried out.
    async fn call(&self, target: &Peer, request: PeerRequest) -> io::Result<PeerAnswer>;
}

/// What one replica asks of another. Opaque to who carries it; self-describing MessagePack (`rmp_serde::to_vec_named`) holds
/// all of it, values as binary. At most about 5 MiB: [`super::log_store`] bounds entries, [`super::transfer`] chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Entries of the log, or news of what is committed.
    Append {
        /// The replica that is meant.
        to: u64,
        /// Raft's part.
        request: AppendEntriesRequest<Types>,
        /// As for [`Self::Vote`].
        #[serde(default)]
        recovery: u64,
    },
    /// A candidate asks for a vote.
    Vote {
        /// The replica that is meant.
        to: u64,
        /// Raft's part.
        request: VoteRequest<u64>,
        /// How often the sender's cluster was recovered: from one that was recovered less often nothing is taken.
        #[serde(default)]
        recovery: u64,
    },
    /// A voter that misses its leader asks whether it would get a vote, before it disturbs anybody with a new term.
    Canvass {
        /// The last entry of who asks.
        last: Option<LogId>,
        /// Who asks, where its log names it.
        #[serde(default)]
        asker: Option<Asker>,
    },
    /// The leader asks a voter to stand for election now.
    Stand {
        /// The replica that is meant.
        to: u64,
    },
    /// A piece of a snapshot.
    Chunk {
        /// The replica that is meant.
        to: u64,
        /// The piece.
        chunk: Chunk,
        /// As for [`Self::Vote`].
        #[serde(default)]
        recovery: u64,
    },
    /// A write, for the leader, which is not repeated; of nodes of an older version.
    Commit(Txn),
    /// [`crate::store::Store::compact`], for the leader.
    Compact(Revision),
    /// The revision that a linearizable read must have seen, for the leader.
    ReadIndex {
        /// Whether who asks has waited in vain for what is committed and wants to be told again.
        remind: bool,
        /// Whom it follows.
        #[serde(default)]
        follows: Option<Follows>,
    },
    /// Where the log ends, and who leads: asked by a replica that misses the quorum, and before a recovery. Who asks, where
    /// its log names it.
    Survey(Option<Asker>),
    /// A write, for the leader, which may be sent again, also to another.
    Once {
        /// Makes it known again.
        ticket: Ticket,
        /// What to write.
        txn: Txn,
    },
    /// How the node is, asked by a leader that wants to hand over.
    Health,
}

/// How a replica introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// Its number.
    pub id: u64,
    /// The end of its log.
    pub last: Option<LogId>,
    /// How often its cluster was recovered, as far as it knows.
    pub recovery: u64,
}

/// Why a replica is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// How often the cluster was recovered.
    pub recovery: u64,
    /// The entry of the membership that does not name it.
    pub since: Option<LogId>,
}

impl Removal {
    /// Whether it is newer than all that `asker` has. Numbers are never used again: a log that names its replica and ends
    /// before a membership that does not is that of one that was removed.
    pub fn concerns(&self, asker: &Asker) -> bool {
        (self.recovery, self.since) > (asker.recovery, asker.last)
    }
}

/// What a replica says of itself in a survey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its number.
    pub raft_id: u64,
    /// The end of its log.
    pub last: Option<LogId>,
    /// The newest term that it knows.
    pub term: u64,
    /// What it has applied.
    pub applied: Revision,
    /// How often the cluster was recovered, as far as it knows.
    pub recovery: u64,
    /// Whether it leads and a majority has just confirmed that.
    pub leads: bool,
}

impl PeerRequest {
    /// Whether it belongs on a stream for bulk, where it delays nothing urgent.
    pub fn is_bulk(&self) -> bool {
        matches!(self, Self::Chunk { .. })
    }

    /// Whether it is raft's own, which must not wait behind requests of clients.
    pub fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::Append { .. }
                | Self::Vote { .. }
                | Self::Canvass { .. }
                | Self::Stand { .. }
                | Self::Survey(_)
                | Self::Health
        )
    }
}

/// The answer to a [`PeerRequest`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PeerAnswer {
    /// To `Append`; what it acknowledges is durable.
    Append(Appended),
    /// To `Vote`; the vote is durable.
    Vote(VoteResponse<u64>),
    /// To `Canvass`: whether it would.
    Canvass(bool),
    /// To `Chunk`: bytes of the transfer that have come, and the receiver's vote once all have and are installed.
    Chunk {
        /// Bytes without a gap from the start.
        taken: u64,
        /// After the last chunk.
        vote: Option<openraft::Vote<u64>>,
    },
    /// To `Commit` and `Once`.
    Commit {
        /// What became of it.
        result: Result<Outcome, Error>,
        /// What the leader had applied when it answered: who waits for it sees why the answer is so.
        applied: Revision,
    },
    /// To `Compact`.
    Compact(Result<(), Error>),
    /// To `ReadIndex`.
    ReadIndex(Result<Revision, Error>),
    /// It was asked and stands.
    Stands,
    /// Only the leader can; nothing was done. The node that leads, where known.
    NotLeader(Option<String>),
    /// The node has another replica than the one that was meant; nothing was done.
    Stranger {
        /// The replica that it has.
        raft_id: u64,
    },
    /// The store has stopped, or refused what it got; nothing is known.
    Failed,
    /// To `Survey`.
    Survey(End),
    /// To `Canvass` and `Survey`: the cluster has gone on without who asks.
    Removed(Removal),
    /// To `Once`: the ticket is older than what is remembered. Nothing was done now; earlier it may have been.
    Forgotten(Revision),
    /// To `Health`: how its disk is.
    Health {
        /// The 99th percentile of its recent syncs, microseconds.
        sync_p99_micros: u64,
        /// Whether it has no room for more.
        #[serde(default)]
        full: bool,
    },
}

/// [`AppendEntriesResponse`], which neither copies nor leaves this crate as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Appended {
    /// All of it.
    Success,
    /// Up to an entry.
    Partly(Option<LogId>),
    /// What came before is not here.
    Conflict,
    /// There is a newer leader or candidate.
    HigherVote(openraft::Vote<u64>),
}

impl From<AppendEntriesResponse<u64>> for Appended {
    fn from(response: AppendEntriesResponse<u64>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(upto) => Self::Partly(upto),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<u64> {
    fn from(answer: Appended) -> Self {
        match answer {
            Appended::Success => Self::Success,
            Appended::Partly(upto) => Self::PartialSuccess(upto),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(vote) => Self::HigherVote(vote),
        }
    }
}

/// Whether `error` says that the request certainly did not arrive.
pub fn never_arrived(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::ConnectionRefused)
}

/// Nobody is there.
#[derive(Debug, Default)]
pub struct Alone;

#[async_trait]
impl Peers for Alone {
    async fn call(&self, _: &Peer, _: PeerRequest) -> io::Result<PeerAnswer> {
        Err(io::ErrorKind::NotConnected.into())
    }
}
