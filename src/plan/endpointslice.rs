//! `EndpointSlice`s of services with a selector: at most a hundred endpoints each, kept where they are as long as they
//! fit, so that a change of one pod writes one slice.
//!
//! Rooms: `wanted` the endpoints that should exist.

#[cfg(test)]
mod tests;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use rand::RngCore;
use serde_json::{Value, json};

use self::wanted::{Family, Group};
use super::{Command, Controller, Plan, Snapshot, backend, owner, select, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::id::name_suffix;
use crate::model::{ObjectKey, Timestamp};

/// Most endpoints in one slice, as Kubernetes sets it.
pub const SLICE_ENDPOINTS: usize = 100;
/// The label that names a slice's service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Keeps endpoint slices. Its keys are services.
#[derive(Debug, Default)]
pub struct EndpointSlices;

/// A stored slice, and what it should hold.
struct Slice {
    object: Option<Arc<Object>>,
    body: Value,
    family: Family,
    ports: Value,
    endpoints: Vec<Value>,
    changed: bool,
    /// Stays although it is empty.
    placeholder: bool,
}

impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::ENDPOINT_SLICES) {
            let service = select::label(object, SERVICE_NAME).filter(|_| is_ours(object));
            return service.map(|name| ObjectKey::new(id::SERVICES, &object.key.namespace, name)).into_iter().collect();
        }
        backend::marks(object, snapshot)
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        _now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let existing: Vec<&Arc<Object>> = snapshot
            .list(id::ENDPOINT_SLICES, Some(&key.namespace))
            .filter(|slice| is_ours(slice) && select::label(slice, SERVICE_NAME) == Some(&*key.name))
            .collect();
        let Some(object) = snapshot.get(key).filter(|service| !service.is_terminating()) else {
            return Ok(Plan {
                commands: existing.into_iter().map(|slice| write::delete(slice)).collect(),
                again_after: None,
            });
        };
        let service = object.view::<Service>()?;
        if backend::selector(&service).is_none() {
            return Ok(Plan::default());
        }
        let groups = wanted::groups(key, &service, snapshot)?;
        let mut slices = existing.into_iter().map(Slice::read).collect::<Result<Vec<_>, _>>()?;
        let labels = labels(key, &service);
        for slice in &mut slices {
            slice.label(&labels);
        }
        fill(&mut slices, groups);
        keep_one(&mut slices, &service);
        let commands = slices.into_iter().filter_map(|slice| slice.write(object, &labels, rng)).collect();
        Ok(Plan { commands, again_after: None })
    }
}

fn is_ours(slice: &Object) -> bool {
    select::label(slice, MANAGED_BY) == Some(MANAGER)
}

fn labels(key: &ObjectKey, service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), key.name.to_string());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if backend::is_headless(service) {
        labels.insert(super::endpoints::HEADLESS.into(), String::new());
    } else {
        labels.remove(super::endpoints::HEADLESS);
    }
    labels
}

/// Distributes the endpoints of each group over slices of the same family and ports: first where they are already, then
/// where there is room, then in new slices. What no group wants is emptied.
fn fill(slices: &mut Vec<Slice>, groups: Vec<Group>) {
    let mut claimed = vec![false; slices.len()];
    for group in groups {
        let mut missing = group.endpoints;
        let mine: Vec<usize> = slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| slice.family == group.family && slice.ports == group.ports)
            .map(|(index, _)| index)
            .collect();
        for index in &mine {
            if let Some(claim) = claimed.get_mut(*index) {
                *claim = true;
            }
            if let Some(slice) = slices.get_mut(*index) {
                slice.keep(&mut missing);
            }
        }
        for index in mine {
            let Some(slice) = slices.get_mut(index) else { continue };
            let room = SLICE_ENDPOINTS.saturating_sub(slice.endpoints.len());
            slice.extend(drain(&mut missing, room));
        }
        while !missing.is_empty() {
            slices.push(Slice::new(group.family, group.ports.clone(), drain(&mut missing, SLICE_ENDPOINTS)));
        }
    }
    let stale = slices.iter_mut().zip(claimed).filter(|(_, claimed)| !claimed).map(|(slice, _)| slice);
    stale.for_each(|slice| slice.endpoints.clear());
}

/// Takes the first `count` endpoints, in the order of their pods.
fn drain(endpoints: &mut BTreeMap<String, Value>, count: usize) -> Vec<Value> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let Some((_, endpoint)) = endpoints.pop_first() else { break };
        taken.push(endpoint);
    }
    taken
}

/// Empty slices go, but for one where a service would have none: that says "no endpoints" rather than "not known yet".
fn keep_one(slices: &mut Vec<Slice>, service: &Service) {
    if slices.iter().any(|slice| !slice.endpoints.is_empty()) {
        return;
    }
    if slices.is_empty() {
        slices.push(Slice::new(wanted::first_family(service), json!([]), Vec::new()));
    }
    if let Some(first) = slices.first_mut() {
        first.placeholder = true;
        first.changed |= first.ports != json!([]) || first.body.pointer("/endpoints/0").is_some();
        first.ports = json!([]);
    }
}

impl Slice {
    fn new(family: Family, ports: Value, endpoints: Vec<Value>) -> Self {
        Self { object: None, body: json!({}), family, ports, endpoints, changed: true, placeholder: false }
    }

    fn read(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let body = object.value()?;
        let list = |field: &str| body.get(field).filter(|value| value.is_array()).cloned().unwrap_or_else(|| json!([]));
        let endpoints = match list("endpoints") {
            Value::Array(endpoints) => endpoints,
            _ => Vec::new(),
        };
        let family = Family::parse(body.get("addressType").and_then(Value::as_str).unwrap_or_default());
        let ports = list("ports");
        Ok(Self {
            object: Some(Arc::clone(object)),
            body,
            family,
            ports,
            endpoints,
            changed: false,
            placeholder: false,
        })
    }

    fn label(&mut self, labels: &BTreeMap<String, String>) {
        self.changed |= self.object.as_ref().is_some_and(|object| object.meta.labels.as_ref() != Some(labels));
    }

    /// Keeps, brought up to date, the endpoints that are still wanted, and takes them out of `missing`.
    fn keep(&mut self, missing: &mut BTreeMap<String, Value>) {
        let before = std::mem::take(&mut self.endpoints);
        self.endpoints = before.iter().filter_map(|have| missing.remove(&wanted::identity(have))).collect();
        self.changed |= self.endpoints != before;
    }

    fn extend(&mut self, more: Vec<Value>) {
        self.changed |= !more.is_empty();
        self.endpoints.extend(more);
    }

    fn write(mut self, service: &Object, labels: &BTreeMap<String, String>, rng: &mut dyn RngCore) -> Option<Command> {
        if let Some(object) = &self.object {
            if self.endpoints.is_empty() && !self.placeholder {
                return Some(write::delete(object));
            }
            if !self.changed {
                return None;
            }
            write::set(&mut self.body, "endpoints", self.endpoints.into());
            write::set(&mut self.body, "ports", self.ports);
            if let Some(meta) = self.body.get_mut("metadata") {
                write::set(meta, "labels", json!(labels));
            }
            return Some(write::replace(object, None, self.body));
        }
        let prefix = format!("{}-", service.key.name);
        let body = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{prefix}{}", name_suffix(rng)),
                "generateName": prefix,
                "namespace": &*service.key.namespace,
                "labels": labels,
                "ownerReferences": [owner::reference(service)],
            },
            "addressType": self.family.as_str(),
            "endpoints": self.endpoints,
            "ports": self.ports,
        });
        Some(Command::Create { resource: id::ENDPOINT_SLICES, namespace: service.key.namespace.to_string(), body })
    }
}
