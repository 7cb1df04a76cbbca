//! Ordered changes to subscribers.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::mvcc::Mvcc;
use super::{Change, Error};
use crate::model::{Revision, Scope};

/// Changes that one batch looks at, at most about; a revision is never split.
pub const BATCH: usize = 512;
/// Revisions after which an idle subscription is told how far it is.
pub const BOOKMARK_EVERY: u64 = 256;

/// Tells everybody that the store has ended, and wakes the watchers, who look for that when they are woken; the first cause
/// stays.
pub(super) fn fail(failed: &watch::Sender<Option<Error>>, applied: &watch::Sender<Revision>, cause: Error) {
    failed.send_if_modified(|failed| {
        let first = failed.is_none();
        failed.get_or_insert(cause);
        first
    });
    applied.send_modify(|_| {});
}

/// A subscription. A subscriber that falls behind reads from retained history; one that falls behind compaction gets
/// [`Error::Compacted`]. Nothing is buffered per subscriber.
pub struct Watch {
    scope: Scope,
    reached: Revision,
    told: Revision,
    state: Arc<RwLock<Mvcc>>,
    applied: watch::Receiver<Revision>,
    failed: watch::Receiver<Option<Error>>,
}

/// What a watch yields: the changes after the last batch, and the revision they reach to (a bookmark: nothing of the
/// scope up to it is missing).
#[derive(Debug, Clone)]
pub struct Batch {
    /// In order; empty where only the bookmark moved.
    pub changes: Vec<Arc<Change>>,
    /// Everything up to this revision has been delivered.
    pub revision: Revision,
}

impl Watch {
    pub(super) fn new(
        scope: Scope,
        from: Revision,
        state: Arc<RwLock<Mvcc>>,
        applied: watch::Receiver<Revision>,
        failed: watch::Receiver<Option<Error>>,
    ) -> Self {
        Self { scope, reached: from, told: from, state, applied, failed }
    }

    /// Everything of the scope up to this revision has been delivered. Moves while [`Watch::next`] waits, so that a
    /// bookmark can be made from it at any time.
    pub fn revision(&self) -> Revision {
        self.reached
    }

    /// Waits for the next changes. Cancel-safe. A batch without changes comes about every [`BOOKMARK_EVERY`] revisions.
    ///
    /// # Errors
    /// [`Error::Compacted`] where the subscriber fell too far behind, [`Error::Unavailable`] where the store stopped.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            let applied = *self.applied.borrow_and_update();
            // After each batch there is mostly nothing more: thousands of watchers need not ask the state for that.
            if applied > self.reached
                && let Some(batch) = self.poll()?
            {
                return Ok(batch);
            }
            // One thing to wait for, not two: thousands of watchers do so at every change. See [`fail`].
            if self.failed.borrow().is_some() {
                return Err(Error::Unavailable);
            }
            self.applied.changed().await.map_err(|_| Error::Unavailable)?;
        }
    }

    /// What there is now; `None` where the caller must wait.
    fn poll(&mut self) -> Result<Option<Batch>, Error> {
        loop {
            let (changes, revision) = self.state.read().changes(&self.scope, self.reached, BATCH)?;
            let moved = revision > self.reached;
            self.reached = revision;
            // Whoever follows everything waits for revisions that changed no object, too.
            let all = moved && self.scope == Scope::ALL;
            let due = all || revision.0.saturating_sub(self.told.0) >= BOOKMARK_EVERY;
            if !changes.is_empty() || due {
                self.told = revision;
                return Ok(Some(Batch { changes, revision }));
            }
            if !moved {
                return Ok(None);
            }
        }
    }
}
