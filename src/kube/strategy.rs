//! What the server itself does to an object on its way in: identity, times, generation, who may write which half.
//!
//! `deletion` decides what a DELETE means for an object; `service` and `pod` hold what only those kinds need.

#![allow(
    clippy::indexing_slicing,
    reason = "a missing field of a JSON value reads as null; only values made right here are written so"
)]

mod deletion;
mod pod;
mod service;

use serde_json::{Map, Value, json};

pub use deletion::{Deletion, Mark, Propagation, deletion, finished, mark};

use crate::kube::resource::{Resource, id};
use crate::kube::status::Status;
use crate::model::{ResourceId, Timestamp, Uid};

/// What a write is stamped with.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// When it happens.
    pub now: Timestamp,
    /// The uid of a new object.
    pub uid: Uid,
    /// What `generateName` is completed with.
    pub suffix: &'a str,
    /// Who asks.
    pub user: &'a str,
}

/// Kubernetes cuts the prefix so that the made name has at most 63 bytes.
const GENERATE_NAME_MAX: usize = 58;

/// Kinds that count changes of their spec in `metadata.generation`.
const COUNTED: &[ResourceId] =
    &[id::PODS, id::DEPLOYMENTS, id::REPLICA_SETS, id::REPLICATION_CONTROLLERS, id::ENDPOINT_SLICES];

/// Makes a client's body a new object: identity, creation time, first generation, no status of its own.
///
/// # Errors
/// Where the body names another namespace, kind or version than the request.
pub fn prepare_create(res: &Resource, namespace: &str, value: &mut Value, stamp: &Stamp) -> Result<(), Status> {
    identify(res, value)?;
    let meta = metadata(value)?;
    agree_on_namespace(meta, namespace)?;
    if text(meta, "resourceVersion").is_some_and(|version| !version.is_empty()) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    complete_name(meta, stamp.suffix);
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        meta.remove(field);
    }
    meta.insert("creationTimestamp".into(), stamp.now.rfc3339().into());
    meta.insert("uid".into(), stamp.uid.to_string().into());
    if COUNTED.contains(&res.id) {
        meta.insert("generation".into(), 1.into());
    }
    reset_status(res, value);
    if res.kind == "Namespace" {
        hold_namespace(value);
    }
    Ok(())
}

/// A namespace is held by its own finalizer until its contents are gone, and labelled with its name.
fn hold_namespace(namespace: &mut Value) {
    let name = namespace["metadata"]["name"].clone();
    let Some(object) = namespace.as_object_mut() else { return };
    if let Some(spec) = object.entry("spec").or_insert_with(|| json!({})).as_object_mut() {
        let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut().filter(|list| !list.iter().any(|name| name == "kubernetes")) {
            list.push("kubernetes".into());
        }
    }
    let labels = object.get_mut("metadata").and_then(Value::as_object_mut).map(|meta| meta.entry("labels"));
    if let Some(labels) = labels.and_then(|labels| labels.or_insert_with(|| json!({})).as_object_mut()) {
        labels.insert("kubernetes.io/metadata.name".into(), name);
    }
}

/// Makes a client's body the next version of `old`: what the server owns is carried over, spec and status change only
/// through their own doors, and the generation counts changes of the spec.
///
/// # Errors
/// Where the body is about another object: name, namespace, kind (bad request) or uid (conflict).
pub fn prepare_update(
    res: &Resource,
    subresource: Option<&str>,
    old: &Value,
    new: &mut Value,
    _stamp: &Stamp,
) -> Result<(), Status> {
    identify(res, new)?;
    let name = old["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    carry_metadata(res, &name, old, metadata(new)?)?;
    match subresource {
        Some("status") => carry_for_status(res, old, new),
        Some("finalize") => carry(old, new, "status"),
        _ => carry_for_update(res, old, new),
    }
    count_generation(res, old, new);
    Ok(())
}

fn identify(res: &Resource, value: &mut Value) -> Result<(), Status> {
    let Some(object) = value.as_object_mut() else {
        return Err(Status::bad_request(format!("the body is not a {} object", res.kind)));
    };
    let want = res.api_version();
    match text(object, "apiVersion") {
        Some(have) if !have.is_empty() && have != want => {
            let why = format!("the API version in the data ({have}) does not match the expected API version ({want})");
            return Err(Status::bad_request(why));
        }
        _ => object.insert("apiVersion".into(), want.into()),
    };
    match text(object, "kind") {
        Some(have) if !have.is_empty() && have != res.kind => {
            let why = format!("the kind in the data ({have}) does not match the expected kind ({})", res.kind);
            return Err(Status::bad_request(why));
        }
        _ => object.insert("kind".into(), res.kind.into()),
    };
    Ok(())
}

/// The object's metadata, made where it is missing.
fn metadata(value: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let meta = value.as_object_mut().map(|object| object.entry("metadata").or_insert(Value::Null));
    if let Some(meta) = meta {
        if meta.is_null() {
            *meta = json!({});
        }
        if let Value::Object(meta) = meta {
            return Ok(meta);
        }
    }
    Err(Status::bad_request("metadata is not an object"))
}

fn text<'a>(map: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    map.get(field).and_then(Value::as_str)
}

fn agree_on_namespace(meta: &mut Map<String, Value>, namespace: &str) -> Result<(), Status> {
    let have = text(meta, "namespace").unwrap_or_default();
    if namespace.is_empty() {
        meta.remove("namespace");
    } else if have.is_empty() {
        meta.insert("namespace".into(), namespace.into());
    } else if have != namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    Ok(())
}

fn complete_name(meta: &mut Map<String, Value>, suffix: &str) {
    if text(meta, "name").is_some_and(|name| !name.is_empty()) {
        return;
    }
    if let Some(prefix) = text(meta, "generateName").filter(|prefix| !prefix.is_empty()) {
        let prefix: String = prefix.chars().take(GENERATE_NAME_MAX).collect();
        meta.insert("name".into(), format!("{prefix}{suffix}").into());
    }
}

/// The status that an object is born with.
fn reset_status(res: &Resource, value: &mut Value) {
    let status = match res.kind {
        "Pod" => json!({ "phase": "Pending", "qosClass": pod::qos_class(value) }),
        "Deployment" => json!({}),
        "ReplicaSet" | "ReplicationController" => json!({ "replicas": 0 }),
        "Service" => json!({ "loadBalancer": {} }),
        "Namespace" => json!({ "phase": "Active" }),
        _ => return,
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("status".into(), status);
    }
}

fn carry_metadata(res: &Resource, name: &str, old: &Value, meta: &mut Map<String, Value>) -> Result<(), Status> {
    let have = text(meta, "name").unwrap_or_default();
    if !have.is_empty() && have != name {
        let why = format!("the name of the object ({have}) does not match the name on the URL ({name})");
        return Err(Status::bad_request(why));
    }
    meta.insert("name".into(), name.into());
    agree_on_namespace(meta, old["metadata"]["namespace"].as_str().unwrap_or_default())?;
    let uid = old["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(have) = text(meta, "uid").filter(|have| !have.is_empty() && *have != uid) {
        let why = format!("Precondition failed: UID in precondition: {have}, UID in object meta: {uid}");
        return Err(Status::conflict(res.id.group, res.id.plural, name, &why));
    }
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        carry_field(&old["metadata"], meta, field);
    }
    if text(meta, "generateName").is_none() {
        carry_field(&old["metadata"], meta, "generateName");
    }
    meta.remove("selfLink");
    Ok(())
}

fn carry_field(old: &Value, new: &mut Map<String, Value>, field: &str) {
    match old.get(field) {
        Some(value) => new.insert(field.into(), value.clone()),
        None => new.remove(field),
    };
}

fn carry(old: &Value, new: &mut Value, field: &str) {
    if let Some(new) = new.as_object_mut() {
        carry_field(old, new, field);
    }
}

/// A write of the status: everything else stays as it was, except annotations, which Kubernetes lets through.
fn carry_for_status(res: &Resource, old: &Value, new: &mut Value) {
    carry(old, new, "spec");
    if let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        if matches!(res.kind, "Deployment" | "Pod") {
            carry_field(&old["metadata"], meta, "ownerReferences");
        }
        if res.kind == "Deployment" {
            carry_field(&old["metadata"], meta, "labels");
        }
    }
    if res.kind == "Pod" && new["status"].is_object() && new["status"].get("qosClass").is_none() {
        carry_field_in(old, new, "status", "qosClass");
    }
}

fn carry_for_update(res: &Resource, old: &Value, new: &mut Value) {
    if res.subresource("status").is_some() {
        carry(old, new, "status");
    }
    match res.kind {
        "Namespace" => carry_field_in(old, new, "spec", "finalizers"),
        "Service" => service::keep_allocations(old, new),
        "Secret" if new["type"].as_str().is_none_or(str::is_empty) => carry(old, new, "type"),
        _ => {}
    }
}

fn carry_field_in(old: &Value, new: &mut Value, part: &str, field: &str) {
    let Some(object) = new.as_object_mut() else { return };
    let part_of_new = object.entry(part).or_insert_with(|| json!({}));
    if let Some(part_of_new) = part_of_new.as_object_mut() {
        carry_field(&old[part], part_of_new, field);
    }
}

fn count_generation(res: &Resource, old: &Value, new: &mut Value) {
    if !COUNTED.contains(&res.id) {
        return;
    }
    let changed = match res.kind {
        // Revisions of a deployment are told apart by annotations too.
        "Deployment" => old["spec"] != new["spec"] || old["metadata"]["annotations"] != new["metadata"]["annotations"],
        "EndpointSlice" => {
            old["metadata"]["labels"] != new["metadata"]["labels"]
                || ["addressType", "endpoints", "ports"].iter().any(|part| old[*part] != new[*part])
        }
        _ => old["spec"] != new["spec"],
    };
    if changed && let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        let generation = meta.get("generation").and_then(Value::as_i64).unwrap_or(0);
        meta.insert("generation".into(), generation.saturating_add(1).into());
    }
}

#[cfg(test)]
mod tests;
