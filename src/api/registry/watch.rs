//! Watch: what exists, then every change, as a client that sees only its selection must hear of it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::encode::at_revision;
use super::read::{Stale, scope};
use super::select::selected;
use super::{Registry, face, store_failure};
use crate::api::options::{Selection, WatchOptions, check_fields};
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::model::{Revision, Scope};
use crate::store::{self, Change, ChangeKind, Record, Watch};

/// What kind of event a client hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It came into the selection.
    Added,
    /// It changed within the selection.
    Modified,
    /// It left the selection.
    Deleted,
    /// Nothing up to this revision is missing.
    Bookmark,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object's JSON; for a bookmark its revision is all there is.
    pub object: Bytes,
    /// The revision that it reaches to.
    pub revision: Revision,
    /// Whether this bookmark ends what existed at the start.
    pub initial_end: bool,
}

/// A stream of events.
pub struct Events {
    resource: &'static Resource,
    selection: Selection,
    pending: VecDeque<Pending>,
    watch: Watch,
    reached: Revision,
    /// Where it may not have begun at the newest revision; changes come all the same, once there are some.
    pub stale: Option<Stale>,
}

enum Pending {
    Existing(Arc<Record>),
    InitialEnd,
    Change(Arc<Change>),
}

impl Registry {
    /// Starts a watch.
    pub async fn watch(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: Option<&str>,
        options: &WatchOptions,
    ) -> Result<Events, Status> {
        check_fields(resource, &options.selection.fields)?;
        let scope = scope(resource, namespace, name.or(options.selection.name()));
        let from_now = options.resource_version.is_none_or(|version| version == 0);
        // Whoever resumes at a revision that it had from another replica is kept until this one has come to it.
        let stale = self.wait_for(options.resource_version).await?;
        let initial = options.initial_events.unwrap_or(from_now);
        let (pending, from) = if initial {
            self.existing(&scope, options.initial_events == Some(true))?
        } else if from_now {
            (VecDeque::new(), self.store.revision())
        } else {
            (VecDeque::new(), Revision(options.resource_version.unwrap_or(0)))
        };
        let watch = self.store.watch(scope, from).map_err(|error| watch_failure(&error, from))?;
        Ok(Events { resource, selection: options.selection.clone(), pending, watch, reached: from, stale })
    }

    fn existing(&self, scope: &Scope, mark_end: bool) -> Result<(VecDeque<Pending>, Revision), Status> {
        let page = self.store.list(scope, None, None, 0).map_err(|error| store_failure(&error))?;
        let mut pending: VecDeque<Pending> = page.records.into_iter().map(Pending::Existing).collect();
        if mark_end {
            pending.push_back(Pending::InitialEnd);
        }
        Ok((pending, page.revision))
    }
}

impl Events {
    /// The next event of the selection. Cancel-safe.
    pub async fn next(&mut self) -> Result<Event, Status> {
        loop {
            if let Some(event) = self.ready() {
                return event;
            }
            let batch = self.watch.next().await.map_err(|error| watch_failure(&error, self.reached))?;
            self.reached = batch.revision;
            self.pending.extend(batch.changes.into_iter().map(Pending::Change));
        }
    }

    /// The next event that is here already; `None` where the store must be waited for.
    pub fn ready(&mut self) -> Option<Result<Event, Status>> {
        while let Some(pending) = self.pending.pop_front() {
            if let Some(event) = self.event(&pending).transpose() {
                return Some(event);
            }
        }
        None
    }

    /// A bookmark of what has been delivered; `None` while there is more to deliver first.
    pub fn bookmark(&self) -> Option<Event> {
        self.pending.is_empty().then(|| self.bookmark_event(false))
    }

    fn bookmark_event(&self, initial_end: bool) -> Event {
        let annotations = if initial_end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
        let text = format!(
            r#"{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}","creationTimestamp":null{annotations}}}}}"#,
            self.resource.kind,
            self.resource.api_version(),
            self.reached
        );
        Event { kind: EventKind::Bookmark, object: text.into(), revision: self.reached, initial_end }
    }

    fn event(&self, pending: &Pending) -> Result<Option<Event>, Status> {
        match pending {
            Pending::InitialEnd => Ok(Some(self.bookmark_event(true))),
            Pending::Existing(record) if self.selects(record)? => self.about(EventKind::Added, record).map(Some),
            Pending::Existing(_) => Ok(None),
            Pending::Change(change) => self.changed(change),
        }
    }

    fn changed(&self, change: &Change) -> Result<Option<Event>, Status> {
        let before = match &change.previous {
            Some(previous) if change.kind != ChangeKind::Created => self.selects(previous)?,
            _ => false,
        };
        let after = change.kind != ChangeKind::Deleted && self.selects(&change.record)?;
        match (before, after) {
            (false, false) => Ok(None),
            (false, true) => self.about(EventKind::Added, &change.record).map(Some),
            (true, true) => self.about(EventKind::Modified, &change.record).map(Some),
            (true, false) if change.kind == ChangeKind::Deleted => {
                self.about(EventKind::Deleted, &change.record).map(Some)
            }
            (true, false) => self.left(change).map(Some),
        }
    }

    /// What a client hears of an object that left its selection: the last version it knew, at the newer revision.
    fn left(&self, change: &Change) -> Result<Event, Status> {
        let known = change.previous.as_ref().unwrap_or(&change.record);
        let revision = change.revision();
        let value = at_revision(known, revision);
        let record = Record { value, modified: revision, ..Record::clone(known) };
        self.about(EventKind::Deleted, &record)
    }

    fn selects(&self, record: &Record) -> Result<bool, Status> {
        if self.selection.is_empty() { Ok(true) } else { selected(self.resource, &self.selection, record) }
    }

    fn about(&self, kind: EventKind, record: &Record) -> Result<Event, Status> {
        let object = face(self.resource, record)?;
        Ok(Event { kind, object, revision: record.modified, initial_end: false })
    }
}

impl EventKind {
    /// As the wire spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}

fn watch_failure(error: &store::Error, from: Revision) -> Status {
    match error {
        store::Error::Compacted { oldest } => Status::expired(format!("too old resource version: {from} ({oldest})")),
        error => store_failure(error),
    }
}
