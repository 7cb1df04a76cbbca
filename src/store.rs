//! The replicated store: one raft log, one multi-version map, exact watches. Everything above uses [`Store`], a cheap handle.
//!
//! Rooms: `txn` what can be asked, `record` what is kept, `watch` ordered changes, `log` the raft log in segments,
//! `writer` the one that writes it, `table` the state machine's disk, `mvcc` its memory, `raft` the openraft glue,
//! `keeper` compaction and snapshots, `open` starts it all, `handle` the public face, `mutant` planted faults, `commit` the
//! way of a write, `once` what keeps a repeated one from being done twice.
//!
//! `backup` all of it as a file.
//!
//! With other nodes: `contact` whether a quorum answers, `survey` where everybody's log ends, `recovery` a new beginning with one
//! of them, `cluster` who is in it, `answer` what they ask of this replica, `forward` what this one asks of the
//! leader, `rounds` one question for many readers, `contacts` whom the leader has answered lately, `pulse` elections and
//! news that got lost, `hand_over` leaders that go, `disk` who of the voters has a healthy one. `witness` lets the simulator
//! look on.

mod answer;
pub mod backup;
mod cluster;
mod commit;
mod contact;
pub mod contacts;
pub mod disk;
mod forward;
mod hand_over;
pub mod handle;
mod keeper;
pub mod log;
pub mod mutant;
pub mod mvcc;
pub mod once;
mod open;
mod pulse;
pub mod raft;
pub mod record;
pub mod recovery;
mod rounds;
pub mod stats;
mod survey;
pub mod table;
#[cfg(test)]
mod tests;
pub mod txn;
pub mod watch;
pub mod witness;
mod writer;

pub use contact::{Freshness, LOST_AFTER, Lost, Silence};
pub use handle::Store;
pub use open::{Driver, Role, StoreOptions};
pub use raft::peers::{Alone, PeerAnswer, PeerRequest, Peers};
pub use raft::{FIRST_VOTER, Peer, Replica, Standing};
pub use record::{Change, ChangeKind, Record};
pub use stats::Stats;
pub use survey::{Answered, Survey};
pub use txn::{Action, Expect, Fence, Op, Outcome, Txn};
pub use watch::Watch;

use crate::model::{ObjectKey, Revision};

/// Why the store did not do what it was asked. Each variant says what happened to state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// A compare failed; nothing was written. `actual` is the key's revision now, `None` where it does not exist.
    #[error("{key} is not at the expected revision")]
    Conflict {
        /// The first key whose expectation failed.
        key: ObjectKey,
        /// Its revision now.
        actual: Option<Revision>,
    },
    /// The fence is stale; nothing was written.
    #[error("the writer's epoch is stale")]
    Fenced,
    /// The asked revision has been compacted; the oldest that can be asked is given.
    #[error("revision has been compacted; the oldest retained is {oldest}")]
    Compacted {
        /// Oldest revision that reads and watches may start from.
        oldest: Revision,
    },
    /// The asked revision has not been made yet.
    #[error("revision is in the future; the newest is {newest}")]
    Future {
        /// Newest revision.
        newest: Revision,
    },
    /// The write queue is full; nothing was written. Ask again later.
    #[error("the store is busy")]
    Busy,
    /// The transaction cannot be: too many or too large operations, a key twice, a splice outside its value. Nothing was
    /// written.
    #[error("the transaction is not valid")]
    Invalid,
    /// Another process has the data directory open. The text says which; nothing was changed.
    #[error("{0}")]
    Locked(String),
    /// The data directory belongs to another replica. The text says which; nothing was changed.
    #[error("{0}")]
    Foreign(String),
    /// Only the leader can do that; nothing was done.
    #[error("only the leader can do that")]
    NotLeader {
        /// The node that leads, where known.
        leader: Option<String>,
    },
    /// The disk refused; whether the write will survive is unknown until the next start.
    #[error("the store's disk failed")]
    Disk,
    /// There is room for reads and deletes only; nothing was written.
    #[error("the disk is full")]
    DiskFull,
    /// The store has stopped, or no leader answered in time; whether the write was made is unknown.
    #[error("the store is unavailable")]
    Unavailable,
    /// A file is damaged. The text names the file and what to do; nothing was changed.
    #[error("damaged data: {0}")]
    Damaged(String),
    /// Too few voters are reachable to lead. Nothing was written, unless `unknown` says that it may have been.
    #[error(
        "no quorum: {reachable} of {voters} voters are reachable from here and none of them leads; {}",
        if *.unknown { "whether the write was made is unknown" } else { "nothing was written" }
    )]
    NoQuorum {
        /// Voters that answer.
        reachable: u32,
        /// Voters that there are.
        voters: u32,
        /// Whether the write was under way already.
        unknown: bool,
    },
}

/// What an error of the disk means for the store.
fn disk_error(error: &std::io::Error) -> Error {
    tracing::warn!(%error, "the store's disk refused");
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull,
        _ => Error::Disk,
    }
}
