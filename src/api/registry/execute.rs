//! Planned commands, carried out with the verbs that clients use.

use serde_json::{Value, json};

use super::{Caller, Place, Registry};
use crate::api::options::{DeleteOptions, FieldValidation, PatchKind, Preconditions, WriteOptions};
use crate::kube::resource::{self, Resource, id};
use crate::kube::status::Status;
use crate::model::{ObjectKey, ResourceId, Revision};
use crate::plan::Command;
use crate::plan::command::Regarding;

impl Registry {
    /// Carries out one command; the revision that it made, `None` where there was nothing to do.
    pub async fn execute(&self, caller: &Caller, command: Command) -> Result<Option<Revision>, Status> {
        let options = WriteOptions { field_validation: FieldValidation::Ignore, ..WriteOptions::default() };
        match command {
            Command::Create { resource, namespace, body } => {
                let created = self.create(caller, row(resource)?, &namespace, body, &options).await;
                unless(409, "AlreadyExists", created.map(|written| written.revision))
            }
            Command::Update { key, subresource, revision, mut body } => {
                set(&mut body, "resourceVersion", revision.to_string().into());
                self.replace(caller, &place(&key, subresource)?, body, &options).await.map(Some)
            }
            Command::Patch { key, subresource, body } => {
                let place = place(&key, subresource)?;
                if subresource == Some("scale") {
                    self.patch_scale(caller, &place, PatchKind::Merge, &body, &options).await?;
                    return Ok(Some(self.store.revision()));
                }
                let written = self.patch(caller, &place, PatchKind::Merge, &body, &options).await?;
                Ok(Some(written.revision))
            }
            Command::Bind { key, uid, node } => {
                let body = json!({ "metadata": { "uid": uid }, "target": { "kind": "Node", "name": node } });
                self.bind(caller, &place(&key, None)?, &body, &options).await.map(|written| Some(written.revision))
            }
            Command::Delete { key, uid, propagation, grace_seconds } => {
                let preconditions = Preconditions { uid, resource_version: None };
                let options = DeleteOptions { dry_run: false, preconditions, propagation, grace_seconds };
                let deleted = self.delete(caller, &place(&key, None)?, &options).await;
                unless(404, "NotFound", deleted.map(|deleted| deleted.revision))
            }
            Command::Event { regarding, warning, reason, message } => {
                self.record(caller, &regarding, warning, reason, &message).await
            }
        }
    }

    async fn replace(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Revision, Status> {
        if place.subresource == Some("scale") {
            self.update_scale(caller, place, &body, options).await?;
            return Ok(self.store.revision());
        }
        self.update(caller, place, body, options).await.map(|written| written.revision)
    }

    /// Records an event: a new one, or one more of the same. The name follows from what it says, so that repeating it
    /// finds it again.
    async fn record(
        &self,
        caller: &Caller,
        regarding: &Regarding,
        warning: bool,
        reason: &str,
        message: &str,
    ) -> Result<Option<Revision>, Status> {
        let namespace = if regarding.key.namespace.is_empty() { "default" } else { &*regarding.key.namespace };
        let source = caller.identity.user.rsplit(':').next().unwrap_or_default();
        let name = event_name(regarding, &[source, reason, message]);
        let row = row(id::EVENTS)?;
        let place = Place::object(row, namespace, &name);
        let now = self.world.clock.now().rfc3339();
        let options = WriteOptions { field_validation: FieldValidation::Ignore, ..WriteOptions::default() };
        if let Some(record) = self.store.get(&place.key()) {
            let count = super::parse(&record.value)?.get("count").and_then(Value::as_i64).unwrap_or(0);
            let patch = json!({ "count": count + 1, "lastTimestamp": now });
            let written = self.patch(caller, &place, PatchKind::Merge, &patch, &options).await;
            return unless(404, "NotFound", written.map(|written| written.revision));
        }
        let body = event(regarding, (namespace, &name), source, warning, (reason, message, &now));
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

/// `<object>.<16 hex digits>` of all that makes two events the same.
fn event_name(regarding: &Regarding, parts: &[&str]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let about = [regarding.uid.as_str(), regarding.kind.as_str(), &regarding.field_path, &regarding.key.name];
    for part in about.iter().chain(parts) {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let digest = context.finish();
    let eight = digest.as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let name: String = regarding.key.name.chars().take(200).collect();
    format!("{name}.{eight:016x}")
}

fn unless(code: u16, reason: &str, result: Result<Revision, Status>) -> Result<Option<Revision>, Status> {
    match result {
        Ok(revision) => Ok(Some(revision)),
        Err(status) if status.code == code && status.reason == reason => Ok(None),
        Err(status) => Err(status),
    }
}

fn row(resource: ResourceId) -> Result<&'static Resource, Status> {
    let found = resource::TABLE.iter().find(|row| row.id == resource);
    found.ok_or_else(|| Status::internal(format!("no such resource: {resource}")))
}

fn place<'a>(key: &'a ObjectKey, subresource: Option<&'a str>) -> Result<Place<'a>, Status> {
    let resource = resource::of_key(key).ok_or_else(|| Status::internal(format!("no such resource: {key}")))?;
    Ok(Place { resource, subresource, namespace: &key.namespace, name: &key.name })
}

fn set(body: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(field.to_owned(), value);
    }
}
