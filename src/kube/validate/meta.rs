//! Metadata: names, labels, annotations, owners, finalizers.

use serde_json::Value;

use super::{Causes, syntax, text};
use crate::kube::resource::Resource;
use crate::kube::status::Cause;

/// All keys and values of the annotations together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Metadata of any object.
pub(super) fn object(res: &Resource, meta: &Value, found: &mut Causes) {
    name(res, meta, found);
    let namespace = text(meta, "namespace");
    if res.namespaced && namespace.is_empty() {
        found.required("metadata.namespace", "");
    } else if res.namespaced {
        found.syntax("metadata.namespace", &meta["namespace"], syntax::label_name(namespace));
    }
    labels(&meta["labels"], "metadata.labels", found);
    annotations(&meta["annotations"], "metadata.annotations", found);
    owners(&meta["ownerReferences"], found);
    for (at, finalizer) in meta["finalizers"].as_array().into_iter().flatten().enumerate() {
        let path = format!("metadata.finalizers[{at}]");
        let name = finalizer.as_str().unwrap_or_default();
        found.syntax(&path, finalizer, syntax::qualified_name(name));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            found.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

/// Metadata of the next version: what may not change.
pub(super) fn change(old: &Value, new: &Value, found: &mut Causes) {
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if old[field] != new[field] {
            found.invalid(format!("metadata.{field}"), &new[field], "field is immutable");
        }
    }
    if new["deletionTimestamp"].is_null() {
        return;
    }
    let before: Vec<&Value> = old["finalizers"].as_array().into_iter().flatten().collect();
    let added: Vec<&str> = new["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|name| !before.contains(name))
        .filter_map(Value::as_str)
        .collect();
    if !added.is_empty() && !old["deletionTimestamp"].is_null() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        );
        found.push(Cause::forbidden("metadata.finalizers", &detail));
    }
}

fn name(res: &Resource, meta: &Value, found: &mut Causes) {
    let name = text(meta, "name");
    if name.is_empty() {
        return found.required("metadata.name", "name or generateName is required");
    }
    let complaints = match res.kind {
        "Namespace" | "Service" => syntax::label_name(name),
        _ => syntax::subdomain_name(name),
    };
    found.syntax("metadata.name", &meta["name"], complaints);
}

/// Labels of an object, a template or a selector.
pub(super) fn labels(labels: &Value, path: &str, found: &mut Causes) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        found.syntax(path, &Value::String(key.clone()), syntax::qualified_name(key));
        found.syntax(path, value, syntax::label_value(value.as_str().unwrap_or_default()));
    }
}

pub(super) fn annotations(annotations: &Value, path: &str, found: &mut Causes) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        found.syntax(path, &Value::String(key.clone()), syntax::qualified_name(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        let message = format!("Too long: may not be more than {ANNOTATIONS_MAX} bytes");
        found.push(Cause { reason: "FieldValueTooLong", message, field: path.to_owned() });
    }
}

fn owners(owners: &Value, found: &mut Causes) {
    let mut controllers = Vec::new();
    for (at, owner) in owners.as_array().into_iter().flatten().enumerate() {
        let path = format!("metadata.ownerReferences[{at}]");
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                let detail = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                found.invalid(format!("{path}.{field}"), &Value::from(""), detail);
            }
        }
        if owner["controller"] == true {
            controllers.push(format!("{}/{}", text(owner, "kind"), text(owner, "name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        found.invalid("metadata.ownerReferences", owners, &detail);
    }
}
