//! Commands that many planners give: events, status writes, conditional updates.

use serde::Serialize;
use serde_json::Value;

use super::Command;
use super::command::Regarding;
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::{self, Resource};

/// Records an event about `object`.
pub fn event(object: &Object, warning: bool, reason: &'static str, message: impl Into<String>) -> Command {
    let row = resource::of_key(&object.key);
    let regarding = Regarding {
        key: object.key.clone(),
        api_version: row.map(Resource::api_version).unwrap_or_default(),
        kind: row.map(|row| row.kind.to_owned()).unwrap_or_default(),
        uid: object.uid().to_owned(),
        field_path: String::new(),
    };
    Command::Event { regarding: Box::new(regarding), warning, reason, message: message.into() }
}

/// Replaces `status`, only from the version that was read.
///
/// # Errors
/// Where the object is not JSON.
pub fn status(object: &Object, status: &impl Serialize) -> Result<Command, DecodeError> {
    let mut body = object.value()?;
    set(&mut body, "status", to_value(object, status)?);
    Ok(replace(object, Some("status"), body))
}

/// Replaces the object with `body`, only from the version that was read.
pub fn replace(object: &Object, subresource: Option<&'static str>, body: Value) -> Command {
    Command::Update { key: object.key.clone(), subresource, revision: object.revision, body }
}

/// Deletes this incarnation of `object`.
pub fn delete(object: &Object) -> Command {
    Command::Delete {
        key: object.key.clone(),
        uid: Some(object.uid().to_owned()),
        propagation: None,
        grace_seconds: None,
    }
}

/// A typed value as JSON.
///
/// # Errors
/// Where it has no JSON form.
pub fn to_value(object: &Object, typed: &impl Serialize) -> Result<Value, DecodeError> {
    serde_json::to_value(typed).map_err(|error| DecodeError { key: object.key.clone(), reason: error.to_string() })
}

/// Sets a field of a JSON object; anything else is left alone.
pub fn set(body: &mut Value, field: &str, value: Value) {
    if let Some(map) = body.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
}

/// `None` for zero, as Kubernetes leaves zero counters out.
pub fn nonzero(count: usize) -> Option<i32> {
    if count == 0 { None } else { i32::try_from(count).ok() }
}
