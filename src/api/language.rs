//! The seam to the Kubernetes language below: what the request path asks of `kube`, in the request path's own terms.

use serde_json::{Value, json};

use crate::kube::resource::Resource;
use crate::kube::status::{Cause, Status};
use crate::model::selector::FieldSelector;
use crate::model::Timestamp;
use crate::plan::command::Propagation;

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
}

pub struct Decoded {
    pub value: Value,
    pub duplicates: Vec<String>,
}

pub struct Stamp {
    pub now: Timestamp,
    pub uid: String,
    pub suffix: String,
    pub user: String,
}

pub enum Deletion {
    /// It goes now.
    Now,
    /// It stays, marked; the new version.
    Marked(Value),
    /// It is marked already, and nothing changes.
    Waiting,
}

pub fn decode(bytes: &[u8], format: Format) -> Result<Decoded, Status> {
    let _ = format;
    let value = serde_json::from_slice(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(Decoded { value, duplicates: Vec::new() })
}

pub fn findings(_resource: &Resource, _body: &Value) -> Vec<String> {
    Vec::new()
}

pub fn apply_defaults(_resource: &Resource, _object: &mut Value) {}

pub fn prepare_create(_resource: &Resource, namespace: &str, object: &mut Value, stamp: &Stamp) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if !namespace.is_empty() {
            meta.insert("namespace".into(), namespace.into());
        }
        if let (None, Some(prefix)) = (meta.get("name"), meta.get("generateName").and_then(Value::as_str)) {
            let name = format!("{prefix}{}", stamp.suffix);
            meta.insert("name".into(), name.into());
        }
        meta.insert("uid".into(), stamp.uid.clone().into());
        meta.insert("creationTimestamp".into(), stamp.now.rfc3339().into());
    }
}

pub fn prepare_update(_resource: &Resource, _sub: Option<&str>, old: &Value, new: &mut Value, _stamp: &Stamp) {
    for field in ["uid", "creationTimestamp", "namespace", "name", "deletionTimestamp"] {
        if let Some(kept) = old["metadata"].get(field) {
            new["metadata"][field] = kept.clone();
        }
    }
}

pub fn deletion(
    _resource: &Resource,
    object: &Value,
    _grace: Option<i64>,
    _propagation: Option<Propagation>,
    now: Timestamp,
) -> Deletion {
    let has = object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !has {
        return Deletion::Now;
    }
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Deletion::Waiting;
    }
    let mut marked = object.clone();
    marked["metadata"]["deletionTimestamp"] = json!(now.rfc3339());
    Deletion::Marked(marked)
}

pub fn validate_create(_resource: &Resource, _object: &Value) -> Vec<Cause> {
    Vec::new()
}

pub fn validate_update(_resource: &Resource, _sub: Option<&str>, _old: &Value, _new: &Value) -> Vec<Cause> {
    Vec::new()
}

pub fn patch(_resource: &Resource, _kind: PatchKind, current: &Value, patch: &Value) -> Result<Value, Status> {
    let mut out = current.clone();
    json_patch::merge(&mut out, patch);
    Ok(out)
}

pub fn selectable(_resource: &Resource, path: &str) -> bool {
    matches!(path, "metadata.name" | "metadata.namespace" | "spec.nodeName" | "status.phase")
}

pub fn fields_match(_resource: &Resource, fields: &FieldSelector, object: &Value) -> bool {
    fields.terms.iter().all(|term| {
        let pointer = format!("/{}", term.path.replace('.', "/"));
        (object.pointer(&pointer).and_then(Value::as_str).unwrap_or_default() == term.value) == term.equal
    })
}

pub fn to_storage(_resource: &Resource, object: Value) -> Value {
    object
}

pub fn from_storage(_resource: &Resource, object: Value) -> Value {
    object
}

pub fn table(_resource: &Resource, _objects: &[Value], _now: Timestamp) -> Value {
    json!({})
}

pub fn patch_plain(_kind: PatchKind, _type_name: &str, current: &Value, patch: &Value) -> Result<Value, Status> {
    let mut out = current.clone();
    json_patch::merge(&mut out, patch);
    Ok(out)
}
