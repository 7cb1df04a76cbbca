//! The openraft glue. Nothing above `store` names openraft; what another consensus would have to give is [`Consensus`].
//!
//! `log_store` the log as openraft wants it, `machine` the state machine, `peers` the door for the mesh.
//!
//! openraft 0.9 waits for each append before it takes the next, which would mean one sync per commit. While this node is
//! the only voter, an append is therefore reported at once and the *state machine* waits until the entry is durable
//! before it applies and answers: nobody sees or is told anything that a crash could take back, and one sync serves all
//! that wait. With more voters an append is reported when it is durable, as raft needs.

pub mod log_store;
pub mod machine;
pub mod peers;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::log_store::LogStore;
use self::machine::Machine;
use self::peers::{Network, Peers};
use super::mvcc::Refusal;
use super::{Error, Txn};
use crate::model::Revision;

/// What a log entry asks of the state machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Apply a transaction.
    Txn(Txn),
    /// Forget history up to a revision.
    Compact(Revision),
}

/// What the state machine made of it.
pub type Reply = Result<(), Refusal>;

/// What raft remembers of a voter beside its number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The node's name.
    pub node: String,
}

openraft::declare_raft_types!(
    /// The types that openraft is used with.
    pub Types:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<Types>,
        SnapshotData = super::mvcc::Image,
        AsyncRuntime = openraft::TokioRuntime,
        Responder = openraft::impls::OneshotResponder<Types>,
);

/// Raft's name for a log entry.
pub type LogId = openraft::LogId<u64>;
/// Raft's storage error.
pub type StorageError = openraft::StorageError<u64>;

/// The revision that an entry makes: its index.
fn revision_of(id: &LogId) -> Revision {
    let before = super::mutant::last_before_start();
    if super::mutant::mutant("reuse-revision-after-restart") && before > 40 && id.index > before {
        return Revision(id.index - 40);
    }
    Revision(id.index)
}

/// Number of the first voter of a cluster.
pub const FIRST_VOTER: u64 = 1;

/// The replicated log as the store uses it.
#[derive(Clone)]
pub struct Consensus {
    raft: openraft::Raft<Types>,
    machine: Machine,
}

impl Consensus {
    /// Starts as voter `id`; makes a cluster of one on the first start.
    pub async fn start(
        id: u64,
        node: String,
        log: LogStore,
        machine: Machine,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, Error> {
        let config = openraft::Config {
            cluster_name: "shoal".into(),
            // The store triggers elections itself and a single voter needs no heartbeat: an idle node wakes for nothing.
            enable_tick: false,
            enable_heartbeat: false,
            enable_elect: false,
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            ..openraft::Config::default()
        };
        let raft = openraft::Raft::new(id, Arc::new(config), Network(peers), log, machine.clone()).await;
        let raft = raft.map_err(|_| Error::Disk)?;
        let this = Self { raft, machine };
        this.lead(id, node).await?;
        Ok(this)
    }

    /// The state machine.
    #[cfg(test)]
    pub fn machine(&self) -> Machine {
        self.machine.clone()
    }

    async fn lead(&self, id: u64, node: String) -> Result<(), Error> {
        if self.raft.is_initialized().await.map_err(|_| Error::Unavailable)? {
            self.raft.trigger().elect().await.map_err(|_| Error::Unavailable)?;
        } else {
            let members = BTreeMap::from([(id, Peer { node })]);
            self.raft.initialize(members).await.map_err(|_| Error::Unavailable)?;
        }
        let wait = self.raft.wait(None);
        wait.metrics(|metrics| metrics.current_leader == Some(id), "leads").await.map_err(|_| Error::Disk)?;
        // Everything of former terms is committed and applied once this returns.
        self.raft.ensure_linearizable().await.map(drop).map_err(|_| Error::Disk)
    }

    /// Replicates `command`; gives its revision and what the state machine made of it.
    pub async fn propose(&self, command: Command) -> Result<(Revision, Reply), Error> {
        match self.raft.client_write(command).await {
            Ok(response) => Ok((revision_of(&response.log_id), response.data)),
            Err(_) => Err(Error::Unavailable),
        }
    }

    /// Waits until everything acknowledged anywhere before this call is applied here.
    pub async fn read_index(&self) -> Result<(), Error> {
        self.raft.ensure_linearizable().await.map(drop).map_err(|_| Error::Unavailable)
    }

    /// Persists the state machine, then lets raft drop the log that it covers. Gives the size of the state in bytes.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and [`Error::Disk`], which leave everything as it was.
    pub async fn snapshot(&self) -> Result<u64, Error> {
        let bytes = self.machine.prepare().await?;
        self.raft.trigger().snapshot().await.map_err(|_| Error::Unavailable)?;
        Ok(bytes)
    }

    /// Index up to which the log has been dropped.
    pub fn purged(&self) -> Option<u64> {
        self.raft.metrics().borrow().purged.map(|purged| purged.index)
    }

    /// Current term, for `shoal status`.
    pub fn term(&self) -> u64 {
        self.raft.metrics().borrow().current_term
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.current_leader == Some(metrics.id)
    }

    /// Waits until the consensus has ended, for whatever reason.
    pub async fn ended(&self) {
        let mut metrics = self.raft.metrics();
        while metrics.borrow_and_update().running_state.is_ok() {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops taking part.
    pub async fn stop(&self) {
        let _ = self.raft.shutdown().await;
    }
}
