//! Subresources that are more than a part of the object: scale, binding, eviction, finalize.

use serde_json::{Value, json};

use super::create::text;
use super::update::Change;
use super::{Caller, Deleted, Place, Registry, Written, parse};
use crate::api::options::{DeleteOptions, PatchKind, WriteOptions};
use crate::kube::patch;
use crate::kube::resource::Resource;
use crate::kube::status::{Cause, Status};

impl Registry {
    /// The `Scale` of a workload.
    pub async fn scale(&self, place: &Place<'_>) -> Result<Value, Status> {
        let (record, _) = self.get(place, None).await?;
        Ok(scale_of(place.resource, &parse(&record.value)?))
    }

    /// Replaces a workload's scale.
    pub async fn update_scale(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        body: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let body = body.clone();
        self.rescale(caller, place, options, &move |_| Ok(body.clone())).await
    }

    /// Patches a workload's scale.
    pub async fn patch_scale(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        kind: PatchKind,
        asked: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let resource = place.resource;
        let make = |old: &Value| patch::apply(kind, "io.k8s.api.autoscaling.v1.Scale", &scale_of(resource, old), asked);
        self.rescale(caller, place, options, &make).await
    }

    async fn rescale(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        options: &WriteOptions,
        make: &(dyn Fn(&Value) -> Result<Value, Status> + Sync),
    ) -> Result<Value, Status> {
        let change = |old: &Value| scaled(place, old, &make(old)?);
        let object = Place { subresource: None, ..*place };
        let written = self.change(caller, &object, &Change::With(&change), options).await?;
        Ok(scale_of(place.resource, &parse(&written.value)?))
    }

    /// Binds a pod to the node in `body.target`.
    pub async fn bind(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        body: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let change = |old: &Value| bound(place, old, body, &self.world.clock.now().rfc3339());
        let binding = Place { subresource: Some("binding"), ..*place };
        self.change(caller, &binding, &Change::With(&change), options).await
    }

    /// Deletes a pod, as an `Eviction` asks.
    pub async fn evict(
        &self,
        caller: &Caller,
        place: &Place<'_>,
        body: &Value,
        dry_run: bool,
    ) -> Result<Deleted, Status> {
        let asked = body.get("deleteOptions").cloned().unwrap_or_default();
        let mut options = DeleteOptions::read(&crate::api::query::Query::default(), &asked)?;
        options.dry_run |= dry_run;
        self.delete(caller, &Place { subresource: None, ..*place }, &options).await
    }
}

fn scale_of(resource: &Resource, object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: serde_json::Map<String, Value> =
        kept.iter().filter_map(|name| Some(((*name).to_owned(), metadata.get(*name)?.clone()))).collect();
    let replicas = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let status = match selector_text(resource, object) {
        none if none.is_empty() => json!({ "replicas": replicas("/status/replicas") }),
        selector => json!({ "replicas": replicas("/status/replicas"), "selector": selector }),
    };
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": replicas("/spec/replicas") }, "status": status,
    })
}

fn selector_text(resource: &Resource, object: &Value) -> String {
    let plain = resource.id.group.is_empty();
    let labels = object.pointer(if plain { "/spec/selector" } else { "/spec/selector/matchLabels" });
    let pairs = labels.and_then(Value::as_object).into_iter().flatten();
    let mut terms: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let expressions = object.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
    terms.extend(expressions.into_iter().flatten().map(expression_text));
    terms.join(",")
}

fn expression_text(expression: &Value) -> String {
    let values: Vec<&str> =
        expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let (key, values) = (text(expression, "/key"), values.join(","));
    match text(expression, "/operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}

fn scaled(place: &Place<'_>, old: &Value, scale: &Value) -> Result<Value, Status> {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", place.name, vec![cause]));
    }
    let mut new = old.clone();
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["resourceVersion", "uid"] {
            let said = scale.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default();
            metadata.insert(field.to_owned(), said.into());
        }
    }
    if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".into(), replicas.into());
    }
    Ok(new)
}

fn bound(place: &Place<'_>, old: &Value, binding: &Value, now: &str) -> Result<Value, Status> {
    let node = text(binding, "/target/name");
    let (uid, have) = (text(binding, "/metadata/uid"), text(old, "/metadata/uid"));
    if node.is_empty() {
        return Err(Status::invalid("", "Binding", place.name, vec![Cause::required("target.name", "")]));
    }
    if !uid.is_empty() && uid != have {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {have}");
        return Err(place.conflict(&why));
    }
    if old.pointer("/metadata/deletionTimestamp").is_some() {
        return Err(place.conflict(&format!("pod {} is being deleted, cannot be assigned to a host", place.name)));
    }
    let current = text(old, "/spec/nodeName");
    if !current.is_empty() {
        let why = format!("pod {} is already assigned to node {current:?}", place.name);
        return Err(Status::conflict("", "pods/binding", place.name, &why));
    }
    let mut new = old.clone();
    if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".into(), node.into());
    }
    set_scheduled(&mut new, now);
    Ok(new)
}

/// Sets the pod's `PodScheduled` condition to true.
fn set_scheduled(pod: &mut Value, now: &str) {
    let Some(fields) = pod.as_object_mut() else { return };
    let status = fields.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    conditions.retain(|one| text(one, "/type") != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    }));
}
