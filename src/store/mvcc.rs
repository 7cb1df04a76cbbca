//! The multi-version map: every object's retained versions and the ordered history of changes. Pure and in memory.

mod splice;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

pub use self::splice::is_valid;
use self::splice::spliced;
use super::handle::Page;
use super::mutant::mutant;
use super::once::{Done, Memory, Ticket};
use super::{Action, Change, ChangeKind, Error, Expect, Op, Record, Txn};
use crate::model::{Epoch, ObjectKey, Revision, Scope};

/// Bytes that one change is counted with beside its value, for the bound on history.
const CHANGE_OVERHEAD: u64 = 256;

/// Why a transaction changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// A compare failed.
    Conflict {
        /// The first key whose expectation failed.
        key: ObjectKey,
        /// Its revision now.
        actual: Option<Revision>,
    },
    /// The writer's epoch is stale.
    Fenced,
    /// It cannot be applied at all.
    Invalid,
    /// Its ticket is so old that it may have been forgotten.
    Forgotten,
}

/// A version of one key; `record` is `None` where it was deleted.
#[derive(Debug, Clone)]
struct Version {
    revision: Revision,
    record: Option<Arc<Record>>,
}

/// The versions of one key, oldest first; `latest` apart so that most keys need no list.
#[derive(Debug, Clone)]
struct Versions {
    older: Vec<Version>,
    latest: Version,
}

impl Versions {
    fn at(&self, revision: Revision) -> Option<&Arc<Record>> {
        let found = if self.latest.revision <= revision {
            Some(&self.latest)
        } else {
            self.older.iter().rev().find(|version| version.revision <= revision)
        };
        found?.record.as_ref()
    }
}

/// The state machine's memory.
#[derive(Debug, Default)]
pub struct Mvcc {
    keys: BTreeMap<ObjectKey, Versions>,
    history: VecDeque<Arc<Change>>,
    history_bytes: u64,
    fences: BTreeMap<String, Epoch>,
    memory: Memory,
    applied: Revision,
    compacted: Revision,
    objects: usize,
}

/// Everything that a replica needs to start from, sharing the values.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Applied up to here.
    pub applied: Revision,
    /// Compacted up to here: `base` is the state then, `history` what came after.
    pub compacted: Revision,
    /// Objects at `compacted`, in key order.
    pub base: Vec<Arc<Record>>,
    /// Changes after `compacted`, in order.
    pub history: Vec<Arc<Change>>,
    /// Highest epoch that each control actor wrote with.
    pub fences: BTreeMap<String, Epoch>,
    /// What became of the last tickets, in order.
    pub done: Vec<Done>,
    /// The consensus layer's own state at `applied`; opaque here.
    pub consensus: Vec<u8>,
}

impl Mvcc {
    /// Applies `txn` as entry `revision`: all of it, or nothing.
    pub fn apply(&mut self, txn: &Txn, revision: Revision) -> Result<(), Refusal> {
        let checked = self.check(txn);
        self.applied = self.applied.max(revision);
        checked?;
        if let Some(fence) = &txn.fence {
            self.fences.insert(fence.actor.clone(), fence.epoch);
        }
        for op in &txn.ops {
            self.perform(op, revision, txn.cause);
        }
        Ok(())
    }

    /// Applies `txn` as entry `revision`, unless its ticket shows that it was applied before. Gives the revision that did it.
    pub fn apply_once(&mut self, ticket: &Ticket, txn: &Txn, revision: Revision) -> Result<Revision, Refusal> {
        if let Some(answer) = self.memory.answer(ticket, revision) {
            self.skip(revision);
            return answer;
        }
        let outcome = self.apply(txn, revision);
        self.memory.note(ticket, revision, outcome.as_ref().err());
        outcome.map(|()| revision)
    }

    /// Notes an entry that changes no object.
    pub fn skip(&mut self, revision: Revision) {
        self.applied = self.applied.max(revision);
    }

    fn check(&self, txn: &Txn) -> Result<(), Refusal> {
        if !is_valid(txn) {
            return Err(Refusal::Invalid);
        }
        let stale = |fence: &super::Fence| self.fences.get(&fence.actor).is_some_and(|epoch| *epoch > fence.epoch);
        if txn.fence.as_ref().is_some_and(stale) && !mutant("ignore-fence") {
            return Err(Refusal::Fenced);
        }
        for op in &txn.ops {
            let actual = self.get(&op.key).map(|record| record.modified);
            let holds = match op.expect {
                Expect::Any => true,
                Expect::Absent => actual.is_none(),
                Expect::Revision(revision) => actual == Some(revision),
            };
            if !holds && !mutant("ignore-compare") {
                return Err(Refusal::Conflict { key: op.key.clone(), actual });
            }
        }
        Ok(())
    }

    fn perform(&mut self, op: &Op, revision: Revision, cause: u64) {
        let previous = self.get(&op.key);
        let (kind, record) = match (&op.action, &previous) {
            (Action::Check, _) | (Action::Delete, None) => return,
            (Action::Delete, Some(last)) => (ChangeKind::Deleted, last.deleted_at(revision)),
            (Action::Put { value, splice }, last) => {
                let kind = if last.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
                let created = last.as_ref().map_or(revision, |last| last.created);
                let value = spliced(value, *splice as usize, 0, revision);
                let key = self.keys.get_key_value(&op.key).map_or(&op.key, |(key, _)| key).clone();
                (kind, Record { key, created, modified: revision, value, splice: *splice })
            }
        };
        self.push(Change { kind, record: Arc::new(record), previous, cause });
    }

    /// Takes in a change that is known to follow.
    fn push(&mut self, change: Change) {
        let record = (change.kind != ChangeKind::Deleted).then(|| change.record.clone());
        match (change.kind, &change.previous) {
            (ChangeKind::Deleted, _) => self.objects = self.objects.saturating_sub(1),
            (_, None) => self.objects += 1,
            _ => {}
        }
        let version = Version { revision: change.revision(), record };
        match self.keys.get_mut(&change.record.key) {
            Some(versions) => {
                let before = std::mem::replace(&mut versions.latest, version);
                versions.older.push(before);
            }
            None => {
                self.keys.insert(change.record.key.clone(), Versions { older: Vec::new(), latest: version });
            }
        }
        self.history_bytes += weight(&change);
        self.history.push_back(Arc::new(change));
    }

    /// The object now.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Record>> {
        self.keys.get(key)?.latest.record.clone()
    }

    /// Objects of `scope` at a retained revision; see [`super::Store::list`].
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
        let revision = at.unwrap_or(self.applied);
        self.check_retained(revision)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut page = Page { records: Vec::new(), revision, remaining: 0 };
        let start = start_of(scope, after);
        for (key, versions) in self.keys.range((start, Bound::Unbounded)) {
            if scope.resource.as_ref().is_some_and(|resource| *resource < key.resource) {
                break;
            }
            let in_resource = scope.resource.is_some();
            if in_resource && scope.namespace.as_ref().is_some_and(|namespace| *namespace < key.namespace) {
                break;
            }
            let Some(record) = versions.at(revision).filter(|_| scope.covers(key)) else { continue };
            if page.records.len() < limit {
                page.records.push(record.clone());
            } else {
                page.remaining += 1;
            }
        }
        Ok(page)
    }

    /// Whether reads and watches may start from `revision`.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Future`].
    pub fn check_retained(&self, revision: Revision) -> Result<(), Error> {
        if revision < self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        if revision > self.applied {
            return Err(Error::Future { newest: self.applied });
        }
        Ok(())
    }

    /// Changes of `scope` after `from`, at most about `limit` looked at; and how far that reached. Never splits a
    /// revision.
    ///
    /// # Errors
    /// [`Error::Compacted`].
    pub fn changes(&self, scope: &Scope, from: Revision, limit: usize) -> Result<(Vec<Arc<Change>>, Revision), Error> {
        if from < self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        let start = self.history.partition_point(|change| change.revision() <= from);
        let drop_first = mutant("drop-event-at-compaction") && from == self.compacted && from > Revision(0);
        let start = start + usize::from(drop_first);
        let mut found = Vec::new();
        let mut reached = from;
        for (looked, change) in self.history.range(start.min(self.history.len())..).enumerate() {
            if looked >= limit && change.revision() != reached {
                return Ok((found, reached));
            }
            reached = change.revision();
            if scope.covers(&change.record.key) {
                found.push(change.clone());
            }
        }
        Ok((found, self.applied.max(from)))
    }

    /// Forgets history up to `revision`, and versions that only it could read.
    pub fn compact(&mut self, revision: Revision) {
        let revision = revision.min(self.applied);
        if revision <= self.compacted {
            return;
        }
        self.compacted = revision;
        while self.history.front().is_some_and(|change| change.revision() <= revision) {
            let Some(change) = self.history.pop_front() else { break };
            self.history_bytes = self.history_bytes.saturating_sub(weight(&change));
            self.prune(&change.record.key, revision);
        }
    }

    fn prune(&mut self, key: &ObjectKey, revision: Revision) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        if versions.latest.revision <= revision {
            versions.older = Vec::new();
            if versions.latest.record.is_none() || mutant("compact-live-version") {
                self.keys.remove(key);
            }
            return;
        }
        // The newest version at or before the revision stays: it is what a read there sees.
        let base = versions.older.iter().rposition(|version| version.revision <= revision).unwrap_or(0);
        versions.older.drain(..base);
        if versions.older.first().is_some_and(|version| version.revision <= revision && version.record.is_none()) {
            versions.older.remove(0);
        }
    }

    /// The revision to compact at so that history holds at most `bytes`; `None` where it does.
    pub fn excess(&self, bytes: u64) -> Option<Revision> {
        let mut over = self.history_bytes.checked_sub(bytes).filter(|over| *over > 0)?;
        for change in &self.history {
            over = over.saturating_sub(weight(change));
            if over == 0 {
                return Some(change.revision());
            }
        }
        None
    }

    /// Everything, shared.
    pub fn image(&self) -> Image {
        let base = self.keys.values().filter_map(|versions| versions.at(self.compacted)).cloned().collect();
        Image {
            applied: self.applied,
            compacted: self.compacted,
            base,
            history: self.history.iter().cloned().collect(),
            fences: self.fences.clone(),
            done: self.memory.image(),
            consensus: Vec::new(),
        }
    }

    /// The state that an image holds.
    pub fn from_image(image: &Image) -> Self {
        let (fences, memory) = (image.fences.clone(), Memory::from_image(&image.done));
        let versions = |record: &Arc<Record>| {
            let latest = Version { revision: record.modified, record: Some(record.clone()) };
            (record.key.clone(), Versions { older: Vec::new(), latest })
        };
        // All at once, in order: a million of them are built three times as fast as by inserting each.
        let keys = image.base.iter().map(versions).collect();
        let (compacted, objects) = (image.compacted, image.base.len());
        let mut state = Self { keys, fences, memory, compacted, objects, ..Self::default() };
        for change in &image.history {
            if change.kind == ChangeKind::Deleted && mutant("lose-tombstone-on-restart") {
                continue;
            }
            state.push(Change::clone(change));
        }
        state.applied = image.applied;
        state
    }

    /// Takes these equal versions in place of its own: their values lie elsewhere. Gives how many it had.
    pub fn adopt(&mut self, records: &[Arc<Record>]) -> usize {
        let mut adopted = 0;
        for record in records {
            let Some(versions) = self.keys.get_mut(&record.key) else { continue };
            let held = versions.older.iter_mut().chain([&mut versions.latest]);
            let own = held.filter_map(|version| version.record.as_mut()).find(|own| own.modified == record.modified);
            let Some(own) = own else { continue };
            // One copy of the names is enough.
            *own = Arc::new(Record { key: own.key.clone(), value: record.value.clone(), ..Record::clone(record) });
            adopted += 1;
        }
        adopted
    }

    /// The newest applied revision.
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// The oldest revision that can be read.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Objects that exist now.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Changes retained, and about how many bytes they hold.
    pub fn history_size(&self) -> (usize, u64) {
        (self.history.len(), self.history_bytes)
    }

    /// Revision of the oldest retained change.
    pub fn oldest_change(&self) -> Option<Revision> {
        self.history.front().map(|change| change.revision())
    }
}

fn weight(change: &Change) -> u64 {
    change.record.value.len() as u64 + CHANGE_OVERHEAD
}

/// Where a range that covers `scope` starts.
fn start_of(scope: &Scope, after: Option<&ObjectKey>) -> Bound<ObjectKey> {
    let empty = || Arc::<str>::from("");
    let start = match &scope.resource {
        None => ObjectKey { resource: empty(), namespace: empty(), name: empty() },
        Some(resource) => ObjectKey {
            resource: resource.clone(),
            namespace: scope.namespace.clone().unwrap_or_else(empty),
            name: match scope.namespace {
                Some(_) => scope.name.clone().unwrap_or_else(empty),
                None => empty(),
            },
        },
    };
    match after {
        Some(after) if *after >= start => Bound::Excluded(after.clone()),
        _ => Bound::Included(start),
    }
}
