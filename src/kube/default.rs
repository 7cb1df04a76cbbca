//! Defaulting: the values that Kubernetes fills in where a body leaves them out, so that `get -o yaml` shows the same.
//!
//! `pod` knows pods and pod templates, `service` services and the endpoints behind them; the short kinds are here.

#![allow(
    clippy::indexing_slicing,
    reason = "a missing field of a JSON value reads as null; only values made right here are written so"
)]

mod pod;
mod service;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::resource::Resource;
use super::schema;

type Fields = Map<String, Value>;

/// Brings a decoded body to its stored form: normalized (no nulls, canonical quantities) and with every default.
/// Idempotent.
pub fn apply(resource: &Resource, value: &mut Value) {
    schema::normalize(resource.type_name, value, true);
    let Some(object) = value.as_object_mut() else { return };
    match resource.kind {
        "Pod" => pod::pod(object),
        "Service" => service::service(object),
        "Endpoints" => service::endpoints(object),
        "EndpointSlice" => service::endpoint_slice(object),
        "Deployment" => deployment(object),
        "ReplicaSet" => replica_set(object),
        "ReplicationController" => replication_controller(object),
        "Secret" => secret(object),
        "Namespace" => namespace(object),
        "Event" if resource.id.group.is_empty() => event(object),
        "Node" | "Lease" => drop(part(object, "spec")),
        _ => {}
    }
}

/// Sets `field` where it is unset.
fn put(map: &mut Fields, field: &str, value: impl Into<Value>) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.into(), value.into());
    }
}

/// Like [`put`], and an empty text or zero counts as unset, as where Go has a plain value.
fn put_over_zero(map: &mut Fields, field: &str, value: impl Into<Value>) {
    let zero = |value: &Value| value.is_null() || value == "" || value == 0;
    if map.get(field).is_none_or(zero) {
        map.insert(field.into(), value.into());
    }
}

/// The object in `field`, made where it is unset. `None` where something else is there.
fn part<'a>(map: &'a mut Fields, field: &str) -> Option<&'a mut Fields> {
    put(map, field, json!({}));
    map.get_mut(field).and_then(Value::as_object_mut)
}

/// The object in `field`, where there is one.
fn existing<'a>(map: &'a mut Fields, field: &str) -> Option<&'a mut Fields> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

/// The objects in the list in `field`.
fn items<'a>(map: &'a mut Fields, field: &str) -> impl Iterator<Item = &'a mut Fields> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn deployment(object: &mut Fields) {
    if let Some(spec) = part(object, "spec") {
        put(spec, "replicas", 1);
        put(spec, "revisionHistoryLimit", 10);
        put(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = part(spec, "strategy") {
            put_over_zero(strategy, "type", "RollingUpdate");
            if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
                && let Some(rolling) = part(strategy, "rollingUpdate")
            {
                put(rolling, "maxUnavailable", "25%");
                put(rolling, "maxSurge", "25%");
            }
        }
        pod::template(spec);
    }
    part(object, "status");
}

fn replica_set(object: &mut Fields) {
    if let Some(spec) = part(object, "spec") {
        put(spec, "replicas", 1);
        pod::template(spec);
    }
    if let Some(status) = part(object, "status") {
        put(status, "replicas", 0);
    }
}

/// The one kind whose selector and labels follow its template.
fn replication_controller(object: &mut Fields) {
    let labels = object.get("spec").map(|spec| spec["template"]["metadata"]["labels"].clone()).unwrap_or_default();
    if let Some(spec) = part(object, "spec") {
        put(spec, "replicas", 1);
        if spec.contains_key("template") {
            pod::template(spec);
        }
        if !labels.is_null() {
            put(spec, "selector", labels.clone());
        }
    }
    if !labels.is_null()
        && let Some(meta) = part(object, "metadata")
    {
        put(meta, "labels", labels);
    }
    if let Some(status) = part(object, "status") {
        put(status, "replicas", 0);
    }
}

/// `stringData` is write-only: it goes into `data`.
fn secret(object: &mut Fields) {
    put_over_zero(object, "type", "Opaque");
    if !object.get("stringData").is_some_and(Value::is_object) {
        return;
    }
    let Some(Value::Object(plain)) = object.remove("stringData") else { return };
    let Some(data) = part(object, "data") else { return };
    for (key, text) in plain {
        if let Value::String(text) = text {
            data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
        }
    }
}

fn namespace(object: &mut Fields) {
    part(object, "spec");
    if let Some(status) = part(object, "status") {
        put(status, "phase", "Active");
    }
    let Some(meta) = part(object, "metadata") else { return };
    let name = meta.get("name").cloned().filter(|name| name.as_str().is_some_and(|name| !name.is_empty()));
    if let (Some(name), Some(labels)) = (name, part(meta, "labels")) {
        labels.insert("kubernetes.io/metadata.name".into(), name);
    }
}

/// Fields that Kubernetes always prints.
fn event(object: &mut Fields) {
    part(object, "source");
    put(object, "reportingComponent", "");
    put(object, "reportingInstance", "");
}

#[cfg(test)]
mod tests;
