//! The replicated store: one raft log, one multi-version map, exact watches. Everything above uses [`Store`], a cheap handle.
//!
//! Rooms: `txn` what can be asked, `record` what is kept, `watch` ordered changes, `log` the raft log in segments,
//! `writer` the one that writes it, `table` the state machine's disk, `mvcc` its memory, `raft` the openraft glue,
//! `keeper` compaction and snapshots, `open` starts it all, `handle` the public face, `mutant` planted faults.
//!
//! With other nodes: `cluster` who is in it, `answer` what they ask of this replica, `forward` what this one asks of the
//! leader, `rounds` one question for many readers, `pulse` elections and news that got lost. `witness` lets the simulator look on.

mod answer;
mod cluster;
mod forward;
pub mod handle;
mod keeper;
pub mod log;
pub mod mutant;
pub mod mvcc;
mod open;
mod pulse;
pub mod raft;
pub mod record;
mod rounds;
pub mod stats;
pub mod table;
#[cfg(test)]
mod tests;
pub mod txn;
pub mod watch;
pub mod witness;
mod writer;

pub use handle::Store;
pub use open::{Driver, Role, StoreOptions};
pub use raft::peers::{Alone, PeerAnswer, PeerRequest, Peers};
pub use raft::{FIRST_VOTER, Peer, Replica, Standing};
pub use record::{Change, ChangeKind, Record};
pub use stats::Stats;
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
}

/// What an error of the disk means for the store.
fn disk_error(error: &std::io::Error) -> Error {
    tracing::warn!(%error, "the store's disk refused");
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull,
        _ => Error::Disk,
    }
}
