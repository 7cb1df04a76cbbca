//! Delete: now, or marked and waiting for grace and finalizers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::encode::{at_revision, encode};
use super::update::{shown, unencodable};
use super::{Caller, MAX_ATTEMPTS, MODIFIED, Place, Registry, face, parse, store_failure};
use crate::api::admission::Operation;
use crate::api::language::{self, Deletion};
use crate::api::options::{DeleteOptions, ListOptions, Preconditions};
use crate::kube::resource::{Resource, id};
use crate::kube::status::{About, Status};
use crate::model::Revision;
use crate::store::{self, Action, Expect, Op, Record};

/// What a deletion left behind.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// The object: its last version, or the one that waits.
    pub value: Bytes,
    /// The revision of the deletion, or of the mark.
    pub revision: Revision,
    /// Whether the object is gone.
    pub gone: bool,
    /// Which one it was.
    pub about: About,
}

enum Step {
    Done(Deleted),
    LostRace,
}

impl Registry {
    /// Deletes an object, or marks it for deletion.
    pub async fn delete(&self, caller: &Caller, place: &Place<'_>, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.unless_behind(|| self.delete_here(caller, place, options)).await
    }

    async fn delete_here(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        for _ in 0..MAX_ATTEMPTS {
            let record = self.store.get(&place.key()).ok_or_else(|| place.not_found())?;
            if let Step::Done(deleted) = self.delete_version(caller, place, &record, options).await? {
                return Ok(deleted);
            }
        }
        Err(place.conflict(MODIFIED))
    }

    /// Deletes every object that a list would show; what each left behind.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        resource: &'static Resource,
        namespace: &str,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Vec<Bytes>, Status> {
        let listing = self.list(resource, namespace, list).await?;
        let mut items = Vec::with_capacity(listing.records.len());
        for record in &listing.records {
            let place = Place::object(resource, &record.key.namespace, &record.key.name);
            match self.delete(caller, &place, options).await {
                Ok(deleted) => items.push(deleted.value),
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        Ok(items)
    }

    async fn delete_version(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        record: &Record,
        options: &DeleteOptions,
    ) -> Result<Step, Status> {
        let mut object = parse(&record.value)?;
        check_preconditions(place, &object, &options.preconditions)?;
        let mut more = self.admit(caller, Operation::Delete, place, None, &mut object)?;
        let now = self.world.clock.now();
        let (gone, action, value) =
            match language::deletion(place.resource, &object, options.grace_seconds, options.propagation, now) {
                Deletion::Waiting => {
                    let value = face(place.resource, record)?;
                    return Ok(Step::Done(deleted(place, &object, value, record.modified, false)));
                }
                Deletion::Now => (true, Action::Delete, None),
                Deletion::Marked(marked) => {
                    more.clear();
                    let encoded = encode(&marked).map_err(|error| unencodable(place, &error))?;
                    let action = Action::Put { value: encoded.value.clone(), splice: encoded.splice };
                    (false, action, Some(encoded))
                }
            };
        let mut ops = vec![Op { key: record.key.clone(), expect: Expect::Revision(record.modified), action }];
        ops.append(&mut more);
        let committed = if options.dry_run { Ok(record.modified) } else { self.commit(caller, ops).await };
        let revision = match committed {
            Ok(revision) => revision,
            Err(store::Error::Conflict { .. }) => return Ok(Step::LostRace),
            Err(error) => return Err(store_failure(&error)),
        };
        let value = match &value {
            Some(encoded) => shown(place.resource, encoded, revision)?,
            None => last_version(place.resource, record, revision)?,
        };
        Ok(Step::Done(deleted(place, &object, value, revision, gone)))
    }
}

fn last_version(resource: &'static Resource, record: &Record, revision: Revision) -> Result<Bytes, Status> {
    if resource.stored_as.is_some() { face(resource, record) } else { Ok(at_revision(record, revision)) }
}

fn deleted(place: &Place<'_>, object: &Value, value: Bytes, revision: Revision, gone: bool) -> Deleted {
    let about = About {
        group: place.resource.id.group.into(),
        kind: place.resource.id.plural.into(),
        name: place.name.into(),
        uid: super::create::text(object, "/metadata/uid").into(),
    };
    Deleted { value, revision, gone, about }
}

fn check_preconditions(place: &Place<'_>, object: &Value, want: &Preconditions) -> Result<(), Status> {
    let check = |name: &str, want: &Option<String>, pointer: &str| {
        let have = super::create::text(object, pointer);
        match want {
            Some(want) if want != have => Err(place.conflict(&format!(
                "Precondition failed: {name} in precondition: {want}, {name} in object meta: {have}"
            ))),
            _ => Ok(()),
        }
    };
    check("UID", &want.uid, "/metadata/uid")?;
    check("ResourceVersion", &want.resource_version, "/metadata/resourceVersion")
}

impl Deleted {
    /// What a client gets: the object where it waits or where the resource answers with it, else a `Status`.
    pub fn answer(&self, resource: &Resource) -> Bytes {
        const SHOW_LAST: [crate::model::ResourceId; 3] = [id::PODS, id::SERVICES, id::SERVICE_ACCOUNTS];
        if !self.gone || SHOW_LAST.contains(&resource.id) {
            return self.value.clone();
        }
        let mut details = serde_json::Map::new();
        let about = &self.about;
        for (name, value) in
            [("name", &about.name), ("group", &about.group), ("kind", &about.kind), ("uid", &about.uid)]
        {
            if !value.is_empty() {
                details.insert(name.into(), value.as_str().into());
            }
        }
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        Bytes::from(body.to_string())
    }
}
