//! Events: what happened, told once; the same again counts one more.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::execute::{row, unless};
use super::{Caller, Place, Registry};
use crate::api::identity::NODES;
use crate::api::options::{FieldValidation, PatchKind, WriteOptions};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::{Revision, Timestamp};
use crate::plan::command::Regarding;

/// Events whose repetition is recognized; of one that is older, a new one is made. As many as client-go remembers.
const REMEMBERED_MAX: usize = 4096;

/// Names of the events that were told last, by a digest of what they say.
#[derive(Default)]
pub(super) struct Told(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    names: BTreeMap<u64, String>,
    order: VecDeque<u64>,
    /// When deeds began that an event will tell of, by the object's uid and who does them.
    begun: BTreeMap<(String, String), Moment>,
    last_nanos: i64,
}

/// When something happened, and its place in the order of all that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    at: Timestamp,
    nanos: i64,
}

impl Memory {
    fn moment(&mut self, at: Timestamp) -> Moment {
        self.last_nanos = at.0.saturating_mul(1000).max(self.last_nanos.saturating_add(1));
        Moment { at, nanos: self.last_nanos }
    }
}

impl Told {
    fn name(&self, digest: u64) -> Option<String> {
        self.0.lock().names.get(&digest).cloned()
    }

    /// Notes that a deed begins, so that its event sorts before those of what follows from it, though told later.
    pub fn begin(&self, uid: &str, source: &str, now: Timestamp) {
        let memory = &mut *self.0.lock();
        if memory.begun.len() < REMEMBERED_MAX {
            let moment = memory.moment(now);
            memory.begun.insert((uid.to_owned(), source.to_owned()), moment);
        }
    }

    /// The moment that a deed began, taken; where none was noted, a new one.
    fn moment(&self, uid: &str, source: &str, now: Timestamp) -> Moment {
        let memory = &mut *self.0.lock();
        let begun = memory.begun.remove(&(uid.to_owned(), source.to_owned()));
        begun.unwrap_or_else(|| memory.moment(now))
    }

    /// Forgets a deed that did not come about.
    pub fn abandon(&self, uid: &str, source: &str) {
        self.0.lock().begun.remove(&(uid.to_owned(), source.to_owned()));
    }

    /// A name that no event has: `<object>.<nanoseconds>`, so that events sort by when they happened.
    fn remember(&self, digest: u64, object: &str, moment: Moment) -> String {
        let memory = &mut *self.0.lock();
        let object: String = object.chars().take(200).collect();
        let name = format!("{object}.{:016x}", moment.nanos);
        if memory.names.insert(digest, name.clone()).is_none() {
            memory.order.push_back(digest);
        }
        if memory.order.len() > REMEMBERED_MAX
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.names.remove(&oldest);
        }
        name
    }
}

impl Registry {
    /// Records an event: a new one, or one more of the same.
    pub(super) async fn record(
        &self,
        caller: &Caller,
        regarding: &Regarding,
        warning: bool,
        reason: &str,
        message: &str,
    ) -> Result<Option<Revision>, Status> {
        let namespace = if regarding.key.namespace.is_empty() { "default" } else { &*regarding.key.namespace };
        let source = source(caller);
        let row = row(id::EVENTS)?;
        let moment = self.told.moment(&regarding.uid, source, self.world.clock.now());
        let now = moment.at;
        let options = WriteOptions { field_validation: FieldValidation::Ignore, ..WriteOptions::default() };
        let digest = digest(regarding, &[source, reason, message]);
        if let Some(name) = self.told.name(digest) {
            let place = Place::object(row, namespace, &name);
            if let Some(record) = self.store.get(&place.key()) {
                let count = super::parse(&record.value)?.get("count").and_then(Value::as_i64).unwrap_or(0);
                let patch = json!({ "count": count + 1, "lastTimestamp": now.rfc3339() });
                let written = self.patch(caller, &place, PatchKind::Merge, &patch, &options).await;
                return unless(404, "NotFound", written.map(|written| written.revision));
            }
        }
        let name = self.told.remember(digest, &regarding.key.name, moment);
        let body = event(regarding, (namespace, &name), reporter(caller), warning, (reason, message, &now.rfc3339()));
        let created = self.create(caller, row, namespace, body, &options).await;
        unless(409, "AlreadyExists", created.map(|written| written.revision))
    }
}

/// Who an event comes from: a control actor's name, or that of a node.
pub(super) fn source(caller: &Caller) -> &str {
    caller.identity.user.rsplit(':').next().unwrap_or_default()
}

/// What an event says of who it comes from: component and host. What a node tells is told by its kubelet.
fn reporter(caller: &Caller) -> (&str, &str) {
    let source = source(caller);
    if caller.identity.is_in(NODES) { ("kubelet", source) } else { (source, "") }
}

fn event(
    regarding: &Regarding,
    (namespace, name): (&str, &str),
    (component, host): (&str, &str),
    warning: bool,
    (reason, message, now): (&str, &str, &str),
) -> Value {
    let mut involved = serde_json::Map::new();
    let about: [(&str, &str); 6] = [
        ("kind", &regarding.kind),
        ("apiVersion", &regarding.api_version),
        ("namespace", &regarding.key.namespace),
        ("name", &regarding.key.name),
        ("uid", &regarding.uid),
        ("fieldPath", &regarding.field_path),
    ];
    for (name, value) in about.into_iter().filter(|(_, value)| !value.is_empty()) {
        involved.insert(name.to_owned(), value.into());
    }
    let mut source = json!({ "component": component });
    if let Some(source) = source.as_object_mut().filter(|_| !host.is_empty()) {
        source.insert("host".into(), host.into());
    }
    json!({
        "kind": "Event", "apiVersion": "v1", "metadata": { "name": name, "namespace": namespace },
        "involvedObject": involved, "reason": reason, "message": message,
        "type": if warning { "Warning" } else { "Normal" },
        "source": source, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "eventTime": null, "reportingComponent": component, "reportingInstance": host,
    })
}

/// A digest of all that makes two events the same.
fn digest(regarding: &Regarding, parts: &[&str]) -> u64 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let about = [regarding.uid.as_str(), regarding.kind.as_str(), &regarding.field_path, &regarding.key.name];
    for part in about.iter().chain(parts) {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let digest = context.finish();
    digest.as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_sort_in_the_order_they_were_told_and_old_ones_are_forgotten() {
        let told = Told::default();
        let names: Vec<String> =
            (0..20).map(|at| told.remember(20 - at, "pod", told.moment("u", "a", Timestamp(7)))).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(told.name(20).as_ref(), names.first());
        for at in 100..100 + REMEMBERED_MAX as u64 {
            told.remember(at, "pod", told.moment("u", "a", Timestamp(8)));
        }
        assert_eq!(told.name(20), None);
    }

    #[test]
    fn an_event_sorts_by_when_its_deed_began() {
        let told = Told::default();
        told.begin("u", "scheduler", Timestamp(5));
        let other = told.moment("u", "node", Timestamp(6));
        let deed = told.moment("u", "scheduler", Timestamp(9));
        assert!(deed.nanos < other.nanos && deed.at == Timestamp(5), "{deed:?} {other:?}");
        assert_eq!(told.moment("u", "scheduler", Timestamp(9)).at, Timestamp(9));
    }
}
