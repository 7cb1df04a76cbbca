//! The store's public face.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::contact::Contact;
use super::contacts::Contacts;
use super::forward::{At, Forward};
use super::mutant::mutant;
use super::mvcc::Mvcc;
use super::once::Tickets;
use super::raft::log_store::LogStore;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::raft::transfer::Receiver;
use super::raft::{Command, Consensus};
use super::rounds::Rounds;
use super::stats::Stats;
use super::writer::{Ended, Shared};
use super::{Error, Record, Watch};
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
    pub contacts: Contacts,
    pub caught_up: Arc<watch::Sender<bool>>,
    pub contact: Arc<Contact>,
    pub tickets: Tickets,
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

    pub(super) fn failure(&self) -> Option<Error> {
        self.inner.shared.durable.borrow().failed.clone().or_else(|| self.inner.failed.borrow().clone())
    }

    pub(super) fn check_alive(&self) -> Result<(), Error> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Waits until reads here see every write that was acknowledged anywhere before this call (the read index). Callers
    /// that wait at the same time share one question to the leader.
    ///
    /// # Errors
    /// [`Error::Unavailable`], after [`super::StoreOptions::patience`] where nobody leads, and [`Error::NoQuorum`] at once
    /// where that is known.
    pub async fn barrier(&self) -> Result<Revision, Error> {
        self.check_alive()?;
        if self.leads() && self.inner.consensus.is_only_voter() {
            // The only voter acknowledges a write after it has applied it: what is applied is all there is.
            return Ok(self.revision());
        }
        self.refuse_lost()?;
        if mutant("read-without-index") {
            return Ok(self.revision());
        }
        let wanted = self.inner.reads.join(async || self.read_index().await).await?;
        if mutant("read-before-applied") {
            return Ok(self.revision());
        }
        if timeout(REMIND_AFTER, self.applied(wanted)).await.is_err() {
            self.inner.forward.read_index(&mut self.inner.forward.search(), true).await?;
            timeout(self.inner.forward.patience, self.applied(wanted)).await.map_err(|_| Error::Unavailable)??;
        }
        self.inner.contact.confirm(Instant::now());
        Ok(self.revision())
    }

    /// Whom this node, as leader, has answered lately.
    pub fn contacts(&self) -> &Contacts {
        &self.inner.contacts
    }

    /// Goes on through changes of leaders.
    async fn read_index(&self) -> Result<Revision, Error> {
        let mut search = self.inner.forward.search();
        loop {
            if let Some(revision) = self.inner.forward.read_index(&mut search, false).await? {
                return Ok(revision);
            }
            if mutant("lead-without-asking") {
                return Ok(self.revision());
            }
            if let Some(Ok(())) = search.here(self.inner.consensus.read_index()).await {
                return Ok(self.revision());
            }
            self.check_alive()?;
        }
    }

    /// Waits until `revision` is applied here, at most `within`; whoever asks has it from another node. Where the news of it
    /// may have been lost, the leader is asked.
    ///
    /// # Errors
    /// [`Error::Future`] where it was not applied in time, [`Error::Unavailable`] where the store stopped.
    pub async fn reach(&self, revision: Revision, within: Duration) -> Result<(), Error> {
        if revision <= self.revision() {
            return Ok(());
        }
        let reached = timeout(within, async {
            if let Ok(reached) = timeout(REMIND_AFTER, self.applied(revision)).await {
                return reached;
            }
            let asked = async {
                let _ = self.inner.forward.read_index(&mut self.inner.forward.search(), true).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                reached = self.applied(revision) => reached,
                () = asked => Err(Error::Unavailable),
            }
        });
        reached.await.unwrap_or(Err(Error::Future { newest: self.revision() }))
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
    /// [`Error::Unavailable`], after [`super::StoreOptions::patience`] where nobody leads.
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.check_quorum().await?;
        let mut search = self.inner.forward.search();
        loop {
            self.check_alive()?;
            match search.next().await? {
                At::Here => {
                    let proposed = self.inner.consensus.propose(Command::Compact(revision));
                    if let Some(Ok(_)) = search.here(proposed).await {
                        return Ok(());
                    }
                }
                At::Node(node) => match search.call(&node, PeerRequest::Compact(revision)).await {
                    Some(Ok(PeerAnswer::Compact(Ok(())))) => return Ok(()),
                    Some(Ok(PeerAnswer::NotLeader(leader))) => search.follow(leader),
                    _ => {}
                },
            }
        }
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
            sync_recent_p99: self.sync_recent_p99(),
        }
    }

    /// The damage that ended the store, where that was it.
    pub fn damage(&self) -> Option<String> {
        match self.failure() {
            Some(Error::Damaged(what)) => Some(what),
            _ => None,
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

    /// Stops; returns when the files are closed and the directory may be opened again. A leader with other voters hands over
    /// first, where that is possible: see [`Store::step_aside`].
    pub async fn close(&self) {
        self.step_aside().await;
        self.inner.fail(Error::Unavailable);
        self.inner.consensus.stop().await;
        self.inner.log.finish().await;
        self.inner.writer.clone().wait().await;
    }
}

impl Inner {
    /// Tells everybody that the store has ended; the first cause stays.
    fn fail(&self, cause: Error) {
        super::watch::fail(&self.failed, &self.applied, cause);
    }
}

impl Drop for Inner {
    /// The last handle is gone: the keeper ends, then raft, then the writer, which releases the lock.
    fn drop(&mut self) {
        self.fail(Error::Unavailable);
    }
}
