//! The openraft glue. Nothing above `store` names openraft; what another consensus would have to give is [`Consensus`].
//!
//! `log_store` the log as openraft wants it, `machine` the state machine, `peers` the door for the mesh, `link` openraft's
//! way through it, `trail` what others hold already, `transfer` snapshots in chunks, `members` who is in the cluster, `leads` the news of leaders,
//! `confirm` reads that another voter asks for.
//!
//! openraft 0.9 waits for each append before it takes the next, which would mean one sync per commit. An append is therefore
//! reported at once, and what openraft takes for committed is told to nobody before this node's disk holds it:
//! - the *state machine* waits until an entry is durable before it applies and answers;
//! - a leader's messages wait until the entry that they call committed is durable here (`link`);
//! - a follower acknowledges entries and votes when they are durable (`Store::answer`, `log_store`);
//! - a leader that starts again asks for a new term, so that a lost entry's place is never filled twice in one term;
//! - a change of members is reported when it is durable.
//!
//! `docs/STORE.md` says why that is safe.

pub mod confirm;
mod leads;
pub mod link;
pub mod log_store;
pub mod machine;
mod members;
pub mod peers;
mod trail;
pub mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::RaftError;
use serde::{Deserialize, Serialize};

pub use self::leads::{Lead, Leads};
use self::link::{Network, Wire};
use self::log_store::LogStore;
use self::machine::Machine;
pub use self::members::{Replica, Standing};
use super::mvcc::Refusal;
use super::once::Ticket;
use super::{Error, Txn};
use crate::model::Revision;

/// What a log entry asks of the state machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Apply a transaction. Older logs have it; what is written now has a ticket.
    Txn(Txn),
    /// Forget history up to a revision.
    Compact(Revision),
    /// Apply a transaction, unless the ticket shows that it was applied before.
    Once(Ticket, Txn),
}

/// What the state machine made of it: the revision that did it, which for a repeat is not the entry's own.
pub type Reply = Result<Revision, Refusal>;

/// What raft remembers of a replica beside its number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The node's name.
    pub node: String,
    /// How often the cluster had been recovered when the replica was noted: the most of a membership is the cluster's.
    #[serde(default)]
    pub recovery: u64,
}

impl Peer {
    /// The replica on `node`, of whichever cluster.
    pub fn on(node: &str) -> Self {
        Self { node: node.to_owned(), recovery: 0 }
    }
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

/// Bound on the way of entries to another replica and back. openraft knows one setting for this and for heartbeats, which
/// the store sends itself.
const APPEND_WITHIN: Duration = Duration::from_secs(5);
/// How long a voter that has heard from its leader refuses to vote for another.
pub const LEASE: Duration = Duration::from_millis(300);
/// Entries in one message, at most; `log_store` bounds their bytes.
const MESSAGE_ENTRIES: u64 = 4096;
/// Bound on openraft's taking note of a state that is already on disk.
const NOTE_WITHIN: Duration = Duration::from_secs(10);

/// The replicated log as the store uses it.
#[derive(Clone)]
pub struct Consensus {
    raft: openraft::Raft<Types>,
    machine: Machine,
    wire: Arc<Wire>,
    id: u64,
}

fn config() -> openraft::Config {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    openraft::Config {
        cluster_name: "shoal".into(),
        // The store has its own timers: a single voter needs none, an idle node wakes for nothing.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        heartbeat_interval: millis(APPEND_WITHIN),
        // Of these openraft makes the bound on a vote's way and back, and the lease.
        election_timeout_min: millis(LEASE) - 1,
        election_timeout_max: millis(LEASE),
        snapshot_policy: openraft::SnapshotPolicy::Never,
        // The store says what may go.
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: MESSAGE_ENTRIES,
        ..openraft::Config::default()
    }
}

impl Consensus {
    /// Starts as replica `id`. Where there is nothing yet, `found` makes a cluster of one; otherwise it waits for a leader to
    /// add it. The only voter leads when this returns.
    pub async fn start(
        (id, node): (u64, &str),
        found: bool,
        log: LogStore,
        machine: Machine,
        wire: Arc<Wire>,
    ) -> Result<Self, Error> {
        let raft = openraft::Raft::new(id, Arc::new(config()), Network(wire.clone()), log, machine.clone()).await;
        let raft = raft.map_err(|_| Error::Disk)?;
        let this = Self { raft, machine, wire, id };
        let known = this.raft.is_initialized().await.map_err(|_| Error::Unavailable)?;
        this.wire.log.saw(this.raft.metrics().borrow().membership_config.membership());
        if !known && found {
            let members = BTreeMap::from([(id, Peer::on(node))]);
            this.raft.initialize(members).await.map_err(|_| Error::Unavailable)?;
            this.lead().await?;
        } else if this.is_only_voter() {
            this.elect().await;
            this.lead().await?;
        }
        Ok(this)
    }

    /// This replica's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The state machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the links share.
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// openraft, for what other replicas ask of it.
    pub fn raft(&self) -> &openraft::Raft<Types> {
        &self.raft
    }

    async fn lead(&self) -> Result<(), Error> {
        let (wait, id) = (self.raft.wait(None), self.id);
        wait.metrics(|metrics| metrics.current_leader == Some(id), "leads").await.map_err(|_| Error::Disk)?;
        // Everything of former terms is committed and applied once this returns.
        self.raft.ensure_linearizable().await.map(drop).map_err(|_| Error::Disk)
    }

    /// Stands for election, now.
    pub async fn elect(&self) {
        let _ = self.raft.trigger().elect().await;
    }

    /// Tells everybody who is up to date what is committed.
    pub async fn remind(&self) {
        let _ = self.raft.trigger().heartbeat().await;
    }

    /// Replicates `command`; gives its revision and what the state machine made of it.
    ///
    /// # Errors
    /// [`Error::NotLeader`] where this node does not lead, or no longer: it may have been done; [`Error::Unavailable`] where
    /// the consensus has ended.
    pub async fn propose(&self, command: Command) -> Result<(Revision, Reply), Error> {
        match self.raft.client_write(command).await {
            Ok(response) => Ok((revision_of(&response.log_id), response.data)),
            Err(RaftError::APIError(_)) => Err(Error::NotLeader { leader: None }),
            Err(RaftError::Fatal(_)) => Err(Error::Unavailable),
        }
    }

    /// Index of the last entry, once everything that was proposed before this call has one.
    pub async fn last_proposed(&self) -> Option<u64> {
        // openraft takes its messages in order.
        self.raft.with_raft_state(|_| ()).await.ok()?;
        self.wire.log.last().map(|last| last.index)
    }

    /// Waits until everything acknowledged anywhere before this call is applied here, the leader.
    pub async fn read_index(&self) -> Result<(), Error> {
        self.raft.ensure_linearizable().await.map(drop).map_err(|_| Error::Unavailable)
    }

    /// Persists the state machine, then lets raft drop the log that it covers, but for `keep` bytes where there are others
    /// who may want them. Gives the size of the state in bytes.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and [`Error::Disk`], which leave everything as it was.
    pub async fn snapshot(&self, keep: u64) -> Result<u64, Error> {
        let (last, bytes) = self.machine.prepare().await?;
        self.raft.trigger().snapshot().await.map_err(|_| Error::Unavailable)?;
        let Some(last) = last else { return Ok(bytes) };
        let wait = self.raft.wait(Some(NOTE_WITHIN));
        let noted = wait.metrics(|metrics| metrics.snapshot >= Some(last), "noted").await;
        noted.map_err(|_| Error::Unavailable)?;
        let keep = if self.members().len() > 1 { keep } else { 0 };
        let upto = self.wire.log.droppable(last.index, keep);
        self.raft.trigger().purge_log(upto).await.map_err(|_| Error::Unavailable)?;
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
