//! The store's public face.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::forward::{At, Forward};
use super::mutant::mutant;
use super::mvcc::{self, Mvcc, Refusal};
use super::raft::log_store::LogStore;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::raft::transfer::Receiver;
use super::raft::{Command, Consensus, Reply};
use super::rounds::Rounds;
use super::stats::Stats;
use super::writer::{Ended, Shared};
use super::{Action, Error, Outcome, Record, Txn, Watch};
use crate::model::{ObjectKey, Revision, Scope};

/// Bound on commits that wait; one more is [`Error::Busy`].
pub const COMMITS: usize = 1024;
/// Bound on bytes of commits under way; the others of the [`COMMITS`] wait. Smaller than a segment, so that what is under way when
/// the disk turns out to be full still fits into the segment that was allocated ahead.
pub const COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// Bound on the bytes of one transaction's values; more is [`Error::Invalid`].
pub const TXN_BYTES: usize = 4 * 1024 * 1024;
/// Room that is left to deletes once the disk is full.
pub const DELETE_ROOM: u64 = 64 * 1024;
/// A read that waits so long for what is committed asks the leader to say it again.
const REMIND_AFTER: Duration = Duration::from_millis(200);
/// Bytes that one operation is counted with beside its value.
const OP_OVERHEAD: usize = 256;

/// A handle on the local replica. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub consensus: Consensus,
    pub log: LogStore,
    pub state: Arc<RwLock<Mvcc>>,
    pub applied: Arc<watch::Sender<Revision>>,
    pub shared: Arc<Shared>,
    pub failed: Arc<watch::Sender<Option<Error>>>,
    pub writer: Ended,
    pub commits: Semaphore,
    pub bytes: Semaphore,
    pub raft_id: u64,
    /// Bytes of log kept for other replicas, which are then spared a whole snapshot.
    pub kept_for_others: u64,
    pub forward: Forward,
    pub receiver: Receiver,
    pub reads: Rounds,
    pub caught_up: Arc<watch::Sender<bool>>,
}

/// A part of a list, at one revision.
#[derive(Debug, Clone)]
pub struct Page {
    /// In key order.
    pub records: Vec<Arc<Record>>,
    /// The revision that the whole list is consistent at.
    pub revision: Revision,
    /// Where more remains: how many records follow this page.
    pub remaining: usize,
}

impl Store {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Commits `txn`, or says why not. Returns once the write is durable and visible to reads here; where another node
    /// leads, it is asked.
    ///
    /// # Errors
    /// See [`Error`]; without a leader [`Error::Unavailable`] after [`super::StoreOptions::patience`].
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        self.check_alive()?;
        let size = weigh(&txn);
        if !mvcc::is_valid(&txn) || size > TXN_BYTES {
            return Err(Error::Invalid);
        }
        let bytes = u32::try_from(size).map_err(|_| Error::Invalid)?;
        let _one = self.inner.commits.try_acquire().map_err(|_| Error::Busy)?;
        let _bytes = self.inner.bytes.acquire_many(bytes).await.map_err(|_| Error::Unavailable)?;
        if self.leads() { self.commit_here(txn, size).await } else { self.commit_there(txn, size).await }
    }

    async fn commit_here(&self, txn: Txn, size: usize) -> Result<Outcome, Error> {
        self.check_room(&txn, size).await?;
        let (revision, reply) = self.propose(Command::Txn(txn)).await?;
        match reply {
            Ok(()) => Ok(Outcome { revision }),
            Err(Refusal::Conflict { key, actual }) => Err(Error::Conflict { key, actual }),
            Err(Refusal::Fenced) => Err(Error::Fenced),
            Err(Refusal::Invalid) => Err(Error::Invalid),
        }
    }

    async fn commit_there(&self, txn: Txn, size: usize) -> Result<Outcome, Error> {
        let request = PeerRequest::Commit(txn);
        let answer = match self.inner.forward.ask(&request, false).await? {
            At::Leader(answer) => answer,
            At::Here => {
                let PeerRequest::Commit(txn) = request else { return Err(Error::Unavailable) };
                return self.commit_here(txn, size).await;
            }
        };
        let PeerAnswer::Commit { result, applied } = answer else { return Err(Error::Unavailable) };
        // Whoever was refused reads again before it tries again: let it see why.
        let seen = result.as_ref().map_or(applied, |outcome| outcome.revision);
        let reached = timeout(self.inner.forward.patience, self.applied(seen)).await;
        match (result, reached) {
            (Ok(_), Ok(Err(_)) | Err(_)) => Err(Error::Unavailable),
            (result, _) => result,
        }
    }

    /// Proposes on this node, which leads. With other voters the wait is bounded: they may be gone.
    async fn propose(&self, command: Command) -> Result<(Revision, Reply), Error> {
        let proposed = self.inner.consensus.propose(command);
        let proposed = if self.inner.consensus.is_only_voter() {
            proposed.await
        } else {
            timeout(self.inner.forward.patience, proposed).await.unwrap_or(Err(Error::Unavailable))
        };
        proposed.map_err(|error| self.failure().unwrap_or(error))
    }

    /// With a full disk only transactions that add nothing pass, into the room that was allocated ahead.
    async fn check_room(&self, txn: &Txn, size: usize) -> Result<(), Error> {
        let space = *self.inner.shared.space.lock();
        if !space.full {
            return Ok(());
        }
        self.inner.log.probe_room().await;
        let adds = txn.ops.iter().any(|op| matches!(op.action, Action::Put { .. }));
        let fits = space.room > size as u64 + DELETE_ROOM;
        if adds || !fits { Err(Error::DiskFull) } else { Ok(()) }
    }

    fn failure(&self) -> Option<Error> {
        self.inner.shared.durable.borrow().failed.clone().or_else(|| self.inner.failed.borrow().clone())
    }

    pub(super) fn check_alive(&self) -> Result<(), Error> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Waits until reads here see every write that was acknowledged anywhere before this call (the read index). Callers
    /// that wait at the same time share one question to the leader.
    ///
    /// # Errors
    /// [`Error::Unavailable`], after [`super::StoreOptions::patience`] where nobody leads.
    pub async fn barrier(&self) -> Result<Revision, Error> {
        self.check_alive()?;
        if self.leads() && self.inner.consensus.is_only_voter() {
            // The only voter acknowledges a write after it has applied it: what is applied is all there is.
            return Ok(self.revision());
        }
        if mutant("read-without-index") {
            return Ok(self.revision());
        }
        let wanted = self.inner.reads.join(async || self.read_index().await).await?;
        if timeout(REMIND_AFTER, self.applied(wanted)).await.is_err() {
            self.inner.forward.read_index(true).await?;
            timeout(self.inner.forward.patience, self.applied(wanted)).await.map_err(|_| Error::Unavailable)??;
        }
        Ok(self.revision())
    }

    async fn read_index(&self) -> Result<Revision, Error> {
        if let Some(revision) = self.inner.forward.read_index(false).await? {
            return Ok(revision);
        }
        if mutant("lead-without-asking") {
            return Ok(self.revision());
        }
        let confirmed = timeout(self.inner.forward.patience, self.inner.consensus.read_index()).await;
        confirmed.map_err(|_| Error::Unavailable)??;
        Ok(self.revision())
    }

    /// The newest applied revision.
    pub fn revision(&self) -> Revision {
        self.inner.state.read().applied()
    }

    /// Waits until `revision` is applied here.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn applied(&self, revision: Revision) -> Result<(), Error> {
        let mut applied = self.inner.applied.subscribe();
        let mut failed = self.inner.failed.subscribe();
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| *applied >= revision) => reached.map(drop).map_err(|_| Error::Unavailable),
            _ = failed.wait_for(Option::is_some) => Err(Error::Unavailable),
        }
    }

    /// One object, now.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Record>> {
        self.inner.state.read().get(key)
    }

    /// Objects in key order: of `scope`, `at` a retained revision (now where `None`), after the key `after`, at most
    /// `limit` (all where 0).
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Future`].
    pub fn list(
        &self,
        scope: &Scope,
        at: Option<Revision>,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.inner.state.read().list(scope, at, after, limit)
    }

    /// Every change of `scope` after `from`, exactly once, in order.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Future`].
    pub fn watch(&self, scope: Scope, from: Revision) -> Result<Watch, Error> {
        let applied = self.inner.applied.subscribe();
        self.inner.state.read().check_retained(from)?;
        let from = match from {
            Revision(at) if mutant("watch-repeats-on-resume") => Revision(at.saturating_sub(1)),
            Revision(at) if mutant("watch-skips-on-resume") => Revision(at + 1).min(self.revision()),
            from => from,
        };
        Ok(Watch::new(scope, from, self.inner.state.clone(), applied, self.inner.failed.subscribe()))
    }

    /// Forgets history up to `revision`, on every replica. The leader does so by itself, by age and by size.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.check_alive()?;
        if !self.leads()
            && let At::Leader(answer) = self.inner.forward.ask(&PeerRequest::Compact(revision), true).await?
        {
            return if let PeerAnswer::Compact(result) = answer { result } else { Err(Error::Unavailable) };
        }
        self.propose(Command::Compact(revision)).await.map(drop)
    }

    /// Persists the state and drops the log that it covers. The store does so by itself, by size.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn snapshot(&self) -> Result<(), Error> {
        self.check_alive()?;
        self.inner.consensus.snapshot(self.inner.kept_for_others).await.map(drop)
    }

    /// Figures of now.
    pub fn stats(&self) -> Stats {
        let state = self.inner.state.read();
        let (history_changes, history_bytes) = state.history_size();
        let space = *self.inner.shared.space.lock();
        Stats {
            revision: state.applied().0,
            compacted: state.compacted().0,
            objects: state.objects(),
            history_changes,
            history_bytes,
            log_bytes: space.bytes,
            term: self.inner.consensus.term(),
            leads: self.leads(),
            disk_full: space.full,
            sync: self.inner.shared.latency.lock().clone(),
        }
    }

    /// Waits until the store can do nothing more, and says why. In a node the process ends then.
    pub async fn failed(&self) -> Error {
        let mut failed = self.inner.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(Error::Unavailable),
            Err(_) => Error::Unavailable,
        }
    }

    /// The state machine, for tests of what raft asks of it.
    #[cfg(test)]
    pub(super) fn machine(&self) -> super::raft::machine::Machine {
        self.inner.consensus.machine().clone()
    }

    /// Stops; returns when the files are closed and the directory may be opened again.
    pub async fn close(&self) {
        self.inner.fail(Error::Unavailable);
        self.inner.consensus.stop().await;
        self.inner.log.finish().await;
        self.inner.writer.clone().wait().await;
    }
}

impl Inner {
    /// Tells everybody that the store has ended; the first cause stays.
    fn fail(&self, cause: Error) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(cause);
            first
        });
    }
}

impl Drop for Inner {
    /// The last handle is gone: the keeper ends, then raft, then the writer, which releases the lock.
    fn drop(&mut self) {
        self.fail(Error::Unavailable);
    }
}

fn weigh(txn: &Txn) -> usize {
    let value = |op: &super::Op| match &op.action {
        Action::Put { value, .. } => value.len(),
        Action::Delete | Action::Check => 0,
    };
    txn.ops.iter().map(|op| value(op) + OP_OVERHEAD).sum()
}
