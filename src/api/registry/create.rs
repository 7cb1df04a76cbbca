//! Create: a new object, under a name that nobody has.

use bytes::Bytes;
use serde_json::Value;

use super::encode::{Encoded, encode};
use super::{Caller, MAX_ATTEMPTS, Place, Registry, Written, check_fields, store_failure};
use crate::api::admission::Operation;
use crate::api::language;
use crate::api::options::WriteOptions;
use crate::kube::resource::{Resource, id};
use crate::kube::status::Status;
use crate::model::{ObjectKey, Revision};
use crate::store::{self, Action, Expect, Op};

struct Prepared {
    name: String,
    encoded: Encoded,
    ops: Vec<Op>,
}

impl Registry {
    /// Creates an object. A generated name that is taken is drawn again.
    pub async fn create(
        &self,
        caller: &Caller,
        resource: &'static Resource,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let warnings = check_fields(resource, &body, options.field_validation, &options.duplicates)?;
        check_type(resource, &body)?;
        let row = language::stored_row(resource);
        let mut body = language::to_storage(resource, body);
        language::apply_defaults(row, &mut body);
        self.look_for_namespace(resource, namespace).await?;
        let generated = text(&body, "/metadata/name").is_empty() && !text(&body, "/metadata/generateName").is_empty();
        for attempt in 1..=MAX_ATTEMPTS {
            // Only a generated name is worth the copy that another attempt begins from.
            let this = if generated && attempt < MAX_ATTEMPTS { body.clone() } else { std::mem::take(&mut body) };
            let prepared = self.prepare(caller, row, namespace, this)?;
            let place = Place::object(resource, namespace, &prepared.name);
            match self.commit_new(caller, &place, &prepared, options.dry_run).await {
                Ok(revision) => return written(resource, &prepared.encoded, revision, warnings),
                Err(store::Error::Conflict { key, .. }) if key == place.key() && !generated => {
                    return Err(Status::already_exists(resource.id.group, resource.id.plural, &prepared.name));
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(store_failure(&error)),
            }
        }
        Err(exhausted(resource, &body))
    }

    /// A namespace that this replica does not have may have been made through another one just now.
    async fn look_for_namespace(&self, resource: &Resource, namespace: &str) -> Result<(), Status> {
        let key = ObjectKey::new(id::NAMESPACES, "", namespace);
        if resource.namespaced && self.store.get(&key).is_none() {
            self.store.barrier().await.map_err(|error| store_failure(&error))?;
        }
        Ok(())
    }

    fn prepare(
        &self,
        caller: &Caller,
        resource: &'static Resource,
        namespace: &str,
        mut body: Value,
    ) -> Result<Prepared, Status> {
        language::prepare_create(resource, namespace, &mut body, &self.stamp(caller))?;
        let name = text(&body, "/metadata/name").to_owned();
        let place = Place::object(resource, namespace, &name);
        let ops = self.admit(caller, Operation::Create, &place, None, &mut body)?;
        let causes = language::validate_create(resource, &body);
        if !causes.is_empty() {
            return Err(Status::invalid(resource.id.group, resource.kind, &name, causes));
        }
        let encoded = encode(&body).map_err(|error| super::update::unencodable(&place, &error))?;
        Ok(Prepared { name, encoded, ops })
    }

    async fn commit_new(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        prepared: &Prepared,
        dry_run: bool,
    ) -> Result<Revision, store::Error> {
        let key = place.key();
        if dry_run {
            let taken = self.store.get(&key).map(|record| record.modified);
            return taken.map_or(Ok(Revision(0)), |at| Err(store::Error::Conflict { key, actual: Some(at) }));
        }
        let action = Action::Put { value: Bytes::clone(&prepared.encoded.value), splice: prepared.encoded.splice };
        let mut ops = vec![Op { key, expect: Expect::Absent, action }];
        ops.extend(prepared.ops.iter().cloned());
        self.commit(caller, ops).await
    }
}

fn written(
    resource: &'static Resource,
    encoded: &Encoded,
    revision: Revision,
    warnings: Vec<String>,
) -> Result<Written, Status> {
    let value = super::update::shown(resource, encoded, revision)?;
    Ok(Written { value, revision, created: true, warnings })
}

fn exhausted(resource: &Resource, body: &Value) -> Status {
    let (group, plural) = (resource.id.group, resource.id.plural);
    let prefix = text(body, "/metadata/generateName");
    if prefix.is_empty() {
        return Status::conflict(group, plural, text(body, "/metadata/name"), "please try again");
    }
    let mut status = Status::already_exists(group, plural, prefix);
    status.message =
        format!("{plural} {prefix:?} already exists, the server was not able to generate a unique name for the object");
    status.retry_after_seconds = Some(1);
    status
}

/// Refuses a body of another type. A body that does not say its type is taken as what the path says.
pub(super) fn check_type(resource: &Resource, body: &Value) -> Result<(), Status> {
    let Some(fields) = body.as_object() else {
        return Err(Status::bad_request(format!("the body of a {} must be an object", resource.kind)));
    };
    if !fields.get("metadata").is_none_or(Value::is_object) {
        return Err(Status::bad_request("metadata: must be an object"));
    }
    let api_version = resource.api_version();
    let said = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (said("kind"), said("apiVersion"));
    let agrees = (kind.is_empty() || kind == resource.kind) && (version.is_empty() || version == api_version);
    if agrees {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the API version in the data ({version}, Kind={kind}) does not match the expected API version ({api_version}, Kind={})",
        resource.kind
    )))
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
