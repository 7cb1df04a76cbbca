//! Update and patch: a new version of an object, made from a version that is still the newest.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::create::{check_type, text};
use super::encode::{self, Encoded, encode};
use super::{Caller, MAX_ATTEMPTS, MODIFIED, Place, Registry, Written, check_fields, face, parse, store_failure};
use crate::api::admission::Operation;
use crate::api::language;
use crate::api::options::{PatchKind, WriteOptions};
use crate::kube::resource::{Resource, id};
use crate::kube::status::Status;
use crate::kube::{patch, strategy};
use crate::model::Revision;
use crate::store::{self, Action, Expect, Op, Record};

/// A change to make to an object.
pub(super) enum Change<'a> {
    /// The whole object.
    Replace(&'a Value),
    /// A patch of it.
    Patch(PatchKind, &'a Value),
    /// What a function makes of it; for subresources.
    With(&'a (dyn Fn(&Value) -> Result<Value, Status> + Sync)),
}

enum Step {
    Done(Written),
    LostRace,
}

impl Registry {
    /// Replaces an object. Without a `resourceVersion` in the body, whatever version it has.
    pub async fn update(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut warnings = check_fields(place.resource, &body, options.field_validation, &options.duplicates)?;
        check_type(place.resource, &body)?;
        check_name(place, &body)?;
        let body = language::to_storage(place.resource, body);
        if self.store.get(&place.key()).is_none() && creates_on_update(place) {
            return self.create(caller, place.resource, place.namespace, body, options).await;
        }
        let mut written = self.change(caller, place, &Change::Replace(&body), options).await?;
        written.warnings.append(&mut warnings);
        Ok(written)
    }

    /// Patches an object, whatever version it has (unless the patch itself names one).
    pub async fn patch(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        kind: PatchKind,
        patch: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.change(caller, place, &Change::Patch(kind, patch), options).await
    }

    pub(super) async fn change(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        change: &Change<'_>,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.unless_behind(|| self.change_here(caller, place, change, options)).await
    }

    async fn change_here(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        change: &Change<'_>,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        for _ in 0..MAX_ATTEMPTS {
            let record = self.store.get(&place.key()).ok_or_else(|| place.not_found())?;
            if let Step::Done(written) = self.attempt(caller, place, &record, change, options).await? {
                return Ok(written);
            }
        }
        Err(place.conflict(MODIFIED))
    }

    async fn attempt(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        record: &Arc<Record>,
        change: &Change<'_>,
        options: &WriteOptions,
    ) -> Result<Step, Status> {
        let old = parse(&record.value)?;
        let (mut new, warnings) = apply(place, &old, change, options)?;
        let pinned = check_identity(place, record, &old, &new)? && matches!(change, Change::Replace(_));
        let row = language::stored_row(place.resource);
        language::apply_defaults(row, &mut new);
        language::prepare_update(row, place.subresource, &old, &mut new, &self.stamp(caller))?;
        let mut ops = self.admit(caller, Operation::Update, place, Some(&old), &mut new)?;
        let causes = language::validate_update(row, place.subresource, &old, &new);
        if !causes.is_empty() {
            return Err(Status::invalid(place.resource.id.group, place.resource.kind, place.name, causes));
        }
        if same(&old, &new) {
            let value = face(place.resource, record)?;
            return Ok(Step::Done(Written { value, revision: record.modified, created: false, warnings }));
        }
        let encoded = encode(&new).map_err(|error| unencodable(place, &error))?;
        if options.dry_run {
            return done(place.resource, &encoded, record.modified, warnings);
        }
        ops = self.with_write(caller, place, record, &mut new, &encoded, ops)?;
        match self.commit(caller, ops).await {
            Ok(revision) => done(place.resource, &encoded, revision, warnings),
            Err(store::Error::Conflict { key, .. }) if pinned && key == record.key => Err(place.conflict(MODIFIED)),
            Err(store::Error::Conflict { .. }) => Ok(Step::LostRace),
            Err(error) => Err(store_failure(&error)),
        }
    }

    /// Adds the write itself: a new version, or the removal where nothing holds the object any more.
    fn with_write(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        record: &Record,
        new: &mut Value,
        encoded: &Encoded,
        ops: Vec<Op>,
    ) -> Result<Vec<Op>, Status> {
        let expect = Expect::Revision(record.modified);
        let (action, more) = if strategy::finished(place.resource, new) {
            (Action::Delete, self.admit(caller, Operation::Delete, place, None, new)?)
        } else {
            (Action::Put { value: Bytes::clone(&encoded.value), splice: encoded.splice }, ops)
        };
        let mut all = vec![Op { key: record.key.clone(), expect, action }];
        all.extend(more);
        Ok(all)
    }
}

fn done(resource: &'static Resource, encoded: &Encoded, at: Revision, warnings: Vec<String>) -> Result<Step, Status> {
    let value = shown(resource, encoded, at)?;
    Ok(Step::Done(Written { value, revision: at, created: false, warnings }))
}

fn apply(
    place: &Place<'_>,
    old: &Value,
    change: &Change<'_>,
    options: &WriteOptions,
) -> Result<(Value, Vec<String>), Status> {
    match change {
        Change::Replace(body) => Ok(((*body).clone(), Vec::new())),
        Change::With(make) => Ok((make(old)?, Vec::new())),
        Change::Patch(kind, body) => {
            let current = language::from_storage(place.resource, old.clone());
            let new = patch::apply(*kind, place.resource.type_name, &current, body)?;
            let warnings = check_fields(place.resource, &new, options.field_validation, &options.duplicates)?;
            check_type(place.resource, &new)?;
            check_name(place, &new)?;
            Ok((language::to_storage(place.resource, new), warnings))
        }
    }
}

/// Whether the body insists on the version it names; an error where it names another one.
fn check_identity(place: &Place<'_>, record: &Record, old: &Value, new: &Value) -> Result<bool, Status> {
    let (said, uid) = (text(new, "/metadata/resourceVersion"), text(new, "/metadata/uid"));
    if !uid.is_empty() && uid != text(old, "/metadata/uid") {
        let have = text(old, "/metadata/uid");
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {have}");
        return Err(place.conflict(&why));
    }
    if said.is_empty() {
        return Ok(false);
    }
    if said.parse() == Ok(record.modified.0) { Ok(true) } else { Err(place.conflict(MODIFIED)) }
}

fn same(old: &Value, new: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        value
    };
    bare(old) == bare(new)
}

fn creates_on_update(place: &Place<'_>) -> bool {
    let row = place.resource.storage();
    place.subresource.is_none() && [id::LEASES, id::ENDPOINTS, id::EVENTS, id::ENDPOINT_SLICES].contains(&row)
}

fn check_name(place: &Place<'_>, body: &Value) -> Result<(), Status> {
    let (name, namespace) = (text(body, "/metadata/name"), text(body, "/metadata/namespace"));
    if name != place.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            place.name
        )));
    }
    if !namespace.is_empty() && namespace != place.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// The bytes that a client gets back for an encoded object.
pub(super) fn shown(resource: &'static Resource, encoded: &Encoded, at: Revision) -> Result<Bytes, Status> {
    let value = encoded.at(at);
    let unwritten = at == Revision(0);
    if resource.stored_as.is_none() && !unwritten {
        return Ok(value);
    }
    let mut other = language::from_storage(resource, parse(&value)?);
    if let Some(metadata) = other.get_mut("metadata").and_then(Value::as_object_mut).filter(|_| unwritten) {
        // What a dry run would have created has no version.
        metadata.remove("resourceVersion");
    }
    serde_json::to_vec(&other).map(Bytes::from).map_err(|error| Status::internal(error.to_string()))
}

/// What a client hears of an object that has no encoding.
pub(super) fn unencodable(place: &Place<'_>, error: &encode::Error) -> Status {
    match error {
        encode::Error::TooLarge(_) => {
            let what = format!("{} {:?} is too large: {error}", place.resource.kind, place.name);
            Status::new(413, "RequestEntityTooLarge", what)
        }
        encode::Error::Shape => Status::bad_request(error.to_string()),
    }
}
