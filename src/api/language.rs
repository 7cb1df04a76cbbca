//! The seam to the Kubernetes language below: what the request path asks of `kube`, in the request path's own terms.

use serde_json::Value;

use crate::kube::resource::{self, Resource};
use crate::kube::schema::{self, Fault};
use crate::kube::status::{Cause, Status};
use crate::kube::{default, events, strategy, validate};
use crate::model::{Timestamp, Uid};
use crate::plan::command::Propagation;

/// What a write is stamped with.
pub struct Stamp {
    /// When it happens.
    pub now: Timestamp,
    /// The uid of a new object.
    pub uid: Uid,
    /// What `generateName` is completed with.
    pub suffix: String,
    /// Who asks.
    pub user: String,
}

impl Stamp {
    fn view(&self) -> strategy::Stamp<'_> {
        strategy::Stamp { now: self.now, uid: self.uid, suffix: &self.suffix, user: &self.user }
    }
}

/// What a DELETE does.
pub enum Deletion {
    /// The object goes now.
    Now,
    /// It stays, marked; the new version.
    Marked(Value),
    /// It is marked already, and nothing changes.
    Waiting,
}

/// Unknown fields of a body, in Kubernetes' words; an error where a value has the wrong type.
pub fn findings(resource: &Resource, body: &Value) -> Result<Vec<String>, Status> {
    let mut unknown = Vec::new();
    for finding in schema::check(resource.type_name, body) {
        match finding.fault {
            Fault::Unknown => unknown.push(format!("unknown field {:?}", finding.path)),
            Fault::WrongType(text) => {
                return Err(Status::bad_request(format!(
                    "{} in version {:?} cannot be handled as a {}: {text}",
                    resource.kind, resource.version, resource.kind
                )));
            }
        }
    }
    Ok(unknown)
}

/// Fills in what the client left out.
pub fn apply_defaults(resource: &Resource, object: &mut Value) {
    default::apply(resource, object);
}

/// Makes a body a new object.
pub fn prepare_create(resource: &Resource, namespace: &str, object: &mut Value, stamp: &Stamp) -> Result<(), Status> {
    strategy::prepare_create(resource, namespace, object, &stamp.view())
}

/// Makes a body the next version of `old`. A binding is made from `old` itself, so there is nothing to carry over.
pub fn prepare_update(
    resource: &Resource,
    subresource: Option<&str>,
    old: &Value,
    new: &mut Value,
    stamp: &Stamp,
) -> Result<(), Status> {
    if subresource == Some("binding") {
        return Ok(());
    }
    strategy::prepare_update(resource, subresource, old, new, &stamp.view())
}

/// Decides a DELETE.
pub fn deletion(
    resource: &Resource,
    object: &Value,
    grace_seconds: Option<i64>,
    propagation: Option<Propagation>,
    now: Timestamp,
) -> Deletion {
    let propagation = propagation.map(|policy| match policy {
        Propagation::Background => strategy::Propagation::Background,
        Propagation::Foreground => strategy::Propagation::Foreground,
        Propagation::Orphan => strategy::Propagation::Orphan,
    });
    match strategy::deletion(resource, object, grace_seconds, propagation) {
        strategy::Deletion::Now => Deletion::Now,
        strategy::Deletion::Pending => Deletion::Waiting,
        strategy::Deletion::Mark(mark) => {
            let mut marked = object.clone();
            strategy::mark(resource, &mut marked, &mark, now);
            Deletion::Marked(marked)
        }
    }
}

/// What is wrong with a new object.
pub fn validate_create(resource: &Resource, object: &Value) -> Vec<Cause> {
    validate::create(resource, object)
}

/// What is wrong with a new version of an object.
pub fn validate_update(resource: &Resource, subresource: Option<&str>, old: &Value, new: &Value) -> Vec<Cause> {
    validate::update(resource, subresource, old, new)
}

/// From the face that a client wrote to the one that is stored.
pub fn to_storage(resource: &Resource, object: Value) -> Value {
    if resource.stored_as.is_some() { events::from_events_v1(object) } else { object }
}

/// From what is stored to the face that a client asked for.
pub fn from_storage(resource: &Resource, object: Value) -> Value {
    if resource.stored_as.is_some() { events::to_events_v1(object) } else { object }
}

/// The row that stores the resource's objects: what strategies and rules of the stored form go by.
pub fn stored_row(resource: &'static Resource) -> &'static Resource {
    let Some(stored) = resource.stored_as else { return resource };
    resource::TABLE.iter().find(|row| row.id == stored).unwrap_or(resource)
}
