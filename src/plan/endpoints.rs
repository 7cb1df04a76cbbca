//! `Endpoints` of services with a selector: addresses of ready and unready pods, grouped by the ports they offer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use rand::RngCore;
use serde_json::{Value, json};

use super::backend::{self, Backend, BackendPort};
use super::{Command, Controller, Plan, Snapshot, select, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// The label of endpoints whose service has no address of its own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Keeps Endpoints. Its keys are services.
#[derive(Debug, Default)]
pub struct EndpointsOfServices;

impl Controller for EndpointsOfServices {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::ENDPOINTS) {
            return vec![ObjectKey::new(id::SERVICES, &object.key.namespace, &object.key.name)];
        }
        backend::marks(object, snapshot)
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        _now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let current = snapshot.get(&ObjectKey::new(id::ENDPOINTS, &key.namespace, &key.name));
        let Some(object) = snapshot.get(key).filter(|service| !service.is_terminating()) else {
            let ours = current.filter(|endpoints| select::label(endpoints, MANAGED_BY) == Some(MANAGER));
            return Ok(Plan {
                commands: ours.map(|object| write::delete(object)).into_iter().collect(),
                again_after: None,
            });
        };
        let service = object.view::<Service>()?;
        if backend::selector(&service).is_none() {
            return Ok(Plan::default());
        }
        let backends = backend::of_service(key, &service, snapshot)?;
        let labels = labels(&service);
        let subsets = subsets(&key.name, &service, &backends);
        let command = match current {
            None => Some(create(key, &labels, &subsets)),
            Some(current) => change(current, &labels, &subsets)?,
        };
        Ok(Plan { commands: command.into_iter().collect(), again_after: None })
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if backend::is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

/// Ready and unready addresses by ports. A pod that is going is left out unless the service publishes everything.
fn subsets(name: &str, service: &Service, backends: &[Backend]) -> Value {
    let publish = backend::publishes_not_ready(service);
    let has_ports =
        service.spec.as_ref().is_some_and(|spec| spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
    let mut groups: BTreeMap<Vec<BackendPort>, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| publish || !backend.terminating) {
        if has_ports && backend.ports.is_empty() {
            continue;
        }
        let Some(address) = backend.addresses.first() else { continue };
        let mut entry = json!({ "ip": address.to_string(), "targetRef": backend.target() });
        if let Some(node) = backend.object.pod_node() {
            write::set(&mut entry, "nodeName", node.into());
        }
        if let Some(hostname) = backend.hostname(name) {
            write::set(&mut entry, "hostname", hostname.into());
        }
        let mut ports = backend.ports.clone();
        ports.sort();
        let group = groups.entry(ports).or_default();
        if backend.serving || publish { group.0.push(entry) } else { group.1.push(entry) }
    }
    groups.into_iter().map(|(ports, (ready, unready))| subset(&ports, ready, unready)).collect()
}

fn subset(ports: &[BackendPort], mut ready: Vec<Value>, mut unready: Vec<Value>) -> Value {
    let mut out = json!({});
    let by_address = |entry: &Value| entry.get("ip").and_then(Value::as_str).map(str::to_owned);
    ready.sort_by_key(by_address);
    unready.sort_by_key(by_address);
    if !ready.is_empty() {
        write::set(&mut out, "addresses", ready.into());
    }
    if !unready.is_empty() {
        write::set(&mut out, "notReadyAddresses", unready.into());
    }
    if !ports.is_empty() {
        write::set(&mut out, "ports", ports.iter().map(render_port).collect());
    }
    out
}

fn render_port(port: &BackendPort) -> Value {
    let mut out = json!({ "port": port.port, "protocol": port.protocol });
    if !port.name.is_empty() {
        write::set(&mut out, "name", port.name.as_str().into());
    }
    if let Some(protocol) = &port.app_protocol {
        write::set(&mut out, "appProtocol", protocol.as_str().into());
    }
    out
}

fn create(key: &ObjectKey, labels: &BTreeMap<String, String>, subsets: &Value) -> Command {
    let mut body = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": &*key.name, "namespace": &*key.namespace, "labels": labels },
    });
    if subsets.as_array().is_some_and(|subsets| !subsets.is_empty()) {
        write::set(&mut body, "subsets", subsets.clone());
    }
    Command::Create { resource: id::ENDPOINTS, namespace: key.namespace.to_string(), body }
}

fn change(
    current: &Object,
    labels: &BTreeMap<String, String>,
    subsets: &Value,
) -> Result<Option<Command>, DecodeError> {
    let mut body = current.value()?;
    let none = json!([]);
    let same = body.get("subsets").filter(|have| !have.is_null()).unwrap_or(&none) == subsets;
    if same && current.meta.labels.as_ref() == Some(labels) {
        return Ok(None);
    }
    write::set(&mut body, "subsets", subsets.clone());
    if let Some(meta) = body.get_mut("metadata") {
        write::set(meta, "labels", json!(labels));
    }
    Ok(Some(write::replace(current, None, body)))
}
