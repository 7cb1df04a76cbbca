//! Events: what happened, told once; the same again counts one more.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::execute::{row, unless};
use super::{Caller, Place, Registry};
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
    last_nanos: i64,
}

impl Told {
    fn name(&self, digest: u64) -> Option<String> {
        self.0.lock().names.get(&digest).cloned()
    }

    /// A name that no event has: `<object>.<nanoseconds>`, so that events sort by when they were told.
    fn remember(&self, digest: u64, object: &str, now: Timestamp) -> String {
        let memory = &mut *self.0.lock();
        memory.last_nanos = now.0.saturating_mul(1000).max(memory.last_nanos.saturating_add(1));
        let object: String = object.chars().take(200).collect();
        let name = format!("{object}.{:016x}", memory.last_nanos);
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
        let source = caller.identity.user.rsplit(':').next().unwrap_or_default();
        let row = row(id::EVENTS)?;
        let now = self.world.clock.now();
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
        let name = self.told.remember(digest, &regarding.key.name, now);
        let body = event(regarding, (namespace, &name), source, warning, (reason, message, &now.rfc3339()));
        let created = self.create(caller, row, namespace, body, &options).await;
        unless(409, "AlreadyExists", created.map(|written| written.revision))
    }
}

fn event(
    regarding: &Regarding,
    (namespace, name): (&str, &str),
    source: &str,
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
    json!({
        "kind": "Event", "apiVersion": "v1", "metadata": { "name": name, "namespace": namespace },
        "involvedObject": involved, "reason": reason, "message": message,
        "type": if warning { "Warning" } else { "Normal" },
        "source": { "component": source }, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "eventTime": null, "reportingComponent": source, "reportingInstance": "",
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
        let names: Vec<String> = (0..20).map(|at| told.remember(20 - at, "pod", Timestamp(7))).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(told.name(20).as_ref(), names.first());
        for at in 100..100 + REMEMBERED_MAX as u64 {
            told.remember(at, "pod", Timestamp(8));
        }
        assert_eq!(told.name(20), None);
    }
}
