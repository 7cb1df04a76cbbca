//! The store's public face.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{Semaphore, watch};

use super::mvcc::{self, Mvcc, Refusal};
use super::raft::log_store::LogStore;
use super::raft::{Command, Consensus};
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
/// Bytes that one operation is counted with beside its value.
const OP_OVERHEAD: usize = 256;

/// A handle on the local replica. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
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

    /// Commits `txn`, or says why not. Returns once the write is durable and visible to reads here.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        self.check_alive()?;
        let size = weigh(&txn);
        if !mvcc::is_valid(&txn) || size > TXN_BYTES {
            return Err(Error::Invalid);
        }
        self.check_room(&txn, size).await?;
        let size = u32::try_from(size).map_err(|_| Error::Invalid)?;
        let _one = self.inner.commits.try_acquire().map_err(|_| Error::Busy)?;
        let _bytes = self.inner.bytes.acquire_many(size).await.map_err(|_| Error::Unavailable)?;
        let proposed = self.inner.consensus.propose(Command::Txn(txn)).await;
        let (revision, reply) = proposed.map_err(|error| self.failure().unwrap_or(error))?;
        match reply {
            Ok(()) => Ok(Outcome { revision }),
            Err(Refusal::Conflict { key, actual }) => Err(Error::Conflict { key, actual }),
            Err(Refusal::Fenced) => Err(Error::Fenced),
            Err(Refusal::Invalid) => Err(Error::Invalid),
        }
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

    fn check_alive(&self) -> Result<(), Error> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Waits until reads here see every write that was acknowledged anywhere before this call (the read index).
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn barrier(&self) -> Result<Revision, Error> {
        self.check_alive()?;
        if !self.inner.log.is_alone() {
            self.inner.consensus.read_index().await?;
        }
        // The only voter acknowledges a write after it has applied it: what is applied is all there is.
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
        Ok(Watch::new(scope, from, self.inner.state.clone(), applied, self.inner.failed.subscribe()))
    }

    /// Forgets history up to `revision`. The store does so by itself, by age and by size.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.check_alive()?;
        let proposed = self.inner.consensus.propose(Command::Compact(revision)).await;
        proposed.map(drop).map_err(|error| self.failure().unwrap_or(error))
    }

    /// Persists the state and drops the log that it covers. The store does so by itself, by size.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn snapshot(&self) -> Result<(), Error> {
        self.check_alive()?;
        self.inner.consensus.snapshot().await.map(drop)
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.inner.consensus.leads()
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
            leads: self.inner.consensus.leads(),
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
        self.inner.consensus.machine()
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
