//! The node's copy of every object: one task follows the store and tells subscribers what changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Revision, Scope};
use crate::plan::Snapshot;
use crate::store::{self, Change, ChangeKind, Record, Store};

/// Most changes that wait for one subscriber; with more it is told that anything may have changed.
pub const INBOX_CHANGES: usize = 65_536;

/// Why the mirror stopped following. What it holds stays readable, but old.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store has stopped or failed.
    #[error("the store cannot be followed")]
    Store(#[from] store::Error),
    /// An object cannot be read. Leaving it out would tell planners that it does not exist.
    #[error("an object cannot be mirrored")]
    Undecodable(#[from] DecodeError),
}

/// The copy. Everything in it was committed; it may lag behind the store.
pub struct Mirror {
    snapshot: Arc<RwLock<Snapshot>>,
    reached: watch::Sender<Revision>,
    subscribers: Mutex<Vec<Weak<Inbox>>>,
}

/// What has changed since a subscriber last looked.
pub struct Inbox {
    waiting: Mutex<Changes>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// Changes for a subscriber.
#[derive(Default)]
pub struct Changes {
    /// In revision order: the version after the change, or the last one. A version before a change is among them where
    /// its labels or owners differ from what came after.
    pub objects: Vec<Noted>,
    /// Anything may have changed: `objects` is not the whole of it.
    pub everything: bool,
}

/// A changed object, and the causal id of the request that changed it.
#[derive(Clone)]
pub struct Noted {
    /// The object.
    pub object: Arc<Object>,
    /// 0 where unknown.
    pub cause: u64,
}

impl Default for Mirror {
    fn default() -> Self {
        let (reached, _) = watch::channel(Revision(0));
        Self { snapshot: Arc::default(), reached, subscribers: Mutex::default() }
    }
}

impl Mirror {
    /// The snapshot. Hold the lock for as long as a plan takes, never across an `await`.
    pub fn snapshot(&self) -> &Arc<RwLock<Snapshot>> {
        &self.snapshot
    }

    /// Whether the first list is in.
    pub fn is_filled(&self) -> bool {
        *self.reached.borrow() > Revision(0)
    }

    /// Waits until the snapshot includes everything up to `revision`. Cancel-safe.
    pub async fn reached(&self, revision: Revision) {
        let mut reached = self.reached.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = reached.wait_for(|have| *have >= revision).await;
    }

    /// Subscribes; `wake` is called when the inbox stops being empty. The first look sees "everything".
    pub fn subscribe(&self, wake: impl Fn() + Send + Sync + 'static) -> Arc<Inbox> {
        let first = Changes { objects: Vec::new(), everything: true };
        let inbox = Arc::new(Inbox { waiting: Mutex::new(first), wake: Box::new(wake) });
        self.subscribers.lock().push(Arc::downgrade(&inbox));
        (inbox.wake)();
        inbox
    }

    /// Follows the store for as long as it can be followed.
    ///
    /// # Errors
    /// See [`Error`]. To be called again later; nothing is missed.
    pub async fn follow(&self, store: &Store) -> Result<(), Error> {
        loop {
            let from = self.relist(store)?;
            let mut watch = store.watch(Scope::ALL, from)?;
            let failure = loop {
                match watch.next().await {
                    Ok(batch) => self.apply(&batch.changes, batch.revision)?,
                    Err(error) => break error,
                }
            };
            if !matches!(failure, store::Error::Compacted { .. }) {
                return Err(failure.into());
            }
            tracing::warn!("the mirror fell behind what the store retains; listing everything again");
        }
    }

    fn relist(&self, store: &Store) -> Result<Revision, Error> {
        let page = store.list(&Scope::ALL, None, None, 0)?;
        let mut present = BTreeSet::new();
        let mut snapshot = self.snapshot.write();
        for record in &page.records {
            present.insert(record.key.clone());
            if snapshot.get(&record.key).is_none_or(|object| object.revision != record.modified) {
                snapshot.put(read(record)?);
            }
        }
        for key in snapshot.keys_outside(&present) {
            snapshot.remove(&key);
        }
        snapshot.advance(page.revision);
        drop(snapshot);
        self.reached.send_replace(page.revision.max(Revision(1)));
        self.tell(Changes::overflow);
        Ok(page.revision)
    }

    pub(super) fn apply(&self, changes: &[Arc<Change>], revision: Revision) -> Result<(), Error> {
        let mut noted = Vec::with_capacity(changes.len());
        let mut snapshot = self.snapshot.write();
        for change in changes {
            apply_one(&mut snapshot, change, &mut noted)?;
        }
        snapshot.advance(revision);
        drop(snapshot);
        self.reached.send_replace(revision);
        if !noted.is_empty() {
            self.tell(|changes| changes.note(&noted));
        }
        Ok(())
    }

    /// Tells planners which nodes gossip suspects; the objects of those that this changes count as changed.
    pub fn doubt(&self, nodes: BTreeSet<String>) {
        let noted: Vec<Noted> = {
            let mut snapshot = self.snapshot.write();
            let changed = snapshot.doubt(nodes);
            let node = |name: String| snapshot.get(&ObjectKey::new(id::NODES, "", &name)).cloned();
            changed.into_iter().filter_map(node).map(|object| Noted { object, cause: 0 }).collect()
        };
        if !noted.is_empty() {
            self.tell(|changes| changes.note(&noted));
        }
    }

    fn tell(&self, note: impl Fn(&mut Changes)) {
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|inbox| inbox.strong_count() > 0);
        let inboxes: Vec<Arc<Inbox>> = subscribers.iter().filter_map(Weak::upgrade).collect();
        drop(subscribers);
        for inbox in inboxes {
            let mut waiting = inbox.waiting.lock();
            let was_empty = waiting.is_empty();
            note(&mut waiting);
            drop(waiting);
            if was_empty {
                (inbox.wake)();
            }
        }
    }
}

impl Inbox {
    /// Takes what waits.
    pub fn take(&self) -> Changes {
        std::mem::take(&mut *self.waiting.lock())
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.everything
    }

    fn overflow(&mut self) {
        self.objects.clear();
        self.everything = true;
    }

    fn note(&mut self, noted: &[Noted]) {
        if self.everything {
            return;
        }
        if self.objects.len() + noted.len() > INBOX_CHANGES {
            self.overflow();
        } else {
            self.objects.extend_from_slice(noted);
        }
    }
}

fn read(record: &Record) -> Result<Arc<Object>, DecodeError> {
    Object::new(record.key.clone(), record.modified, record.value.clone()).map(Arc::new)
}

fn apply_one(snapshot: &mut Snapshot, change: &Change, noted: &mut Vec<Noted>) -> Result<(), DecodeError> {
    let cause = change.cause;
    let object = read(&change.record)?;
    let before = snapshot.get(&object.key).cloned();
    if before.as_ref().is_some_and(|before| before.revision >= object.revision) {
        return Ok(());
    }
    if let Some(before) = before.filter(|before| before.uid() != object.uid() || moved(before, &object)) {
        noted.push(Noted { object: before, cause });
    }
    match change.kind {
        ChangeKind::Created | ChangeKind::Updated => snapshot.put(Arc::clone(&object)),
        ChangeKind::Deleted => {
            snapshot.remove(&object.key);
        }
    }
    noted.push(Noted { object, cause });
    Ok(())
}

/// Whether somebody who cared about the object before may not find it by looking at it now.
fn moved(before: &Object, after: &Object) -> bool {
    before.meta.labels != after.meta.labels || before.meta.owner_references != after.meta.owner_references
}
