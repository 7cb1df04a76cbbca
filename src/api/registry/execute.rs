//! Planned commands, carried out with the verbs that clients use.

use serde_json::{Value, json};

use super::{Caller, Place, Registry};
use crate::api::options::{DeleteOptions, FieldValidation, PatchKind, Preconditions, WriteOptions};
use crate::kube::resource::{self, Resource};
use crate::kube::status::Status;
use crate::model::{ObjectKey, ResourceId, Revision};
use crate::plan::Command;

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
}

pub(super) fn unless(code: u16, reason: &str, result: Result<Revision, Status>) -> Result<Option<Revision>, Status> {
    match result {
        Ok(revision) => Ok(Some(revision)),
        Err(status) if status.code == code && status.reason == reason => Ok(None),
        Err(status) => Err(status),
    }
}

pub(super) fn row(resource: ResourceId) -> Result<&'static Resource, Status> {
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
