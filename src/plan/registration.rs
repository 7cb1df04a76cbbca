//! The Node object of a node, from what is true of it; and what must be written where the API has something else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::model::Quantity;
use crate::model::Timestamp;

/// Most images that a node reports (kubelet's `nodeStatusMaxImages`).
const MAX_IMAGES: usize = 50;
/// Most names of one image that a node reports (kubelet's limit).
const MAX_IMAGE_NAMES: usize = 5;
/// Version of Kubernetes whose behaviour the node has.
const KUBELET_VERSION: &str = "v1.36.0";
/// Seconds for which a lease is held.
const LEASE_SECONDS: i32 = 40;

/// Annotation of a Node: the port that its API listens at.
pub const API_PORT: &str = "shoal.dev/api-port";

/// What is true of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Port of its API; 0 where it serves none.
    pub api_port: u16,
    /// Addresses of its pods.
    pub pod_cidr: String,
    /// Labels besides those that every node has.
    pub labels: BTreeMap<String, String>,
    /// `amd64`, ...
    pub architecture: String,
    /// Cores.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub disk_bytes: u64,
    /// Most pods.
    pub max_pods: u32,
    /// Of `nodeInfo`.
    pub machine_id: String,
    /// Of `nodeInfo`.
    pub system_uuid: String,
    /// Of `nodeInfo`.
    pub boot_id: String,
    /// Of `nodeInfo`.
    pub kernel_version: String,
    /// Of `nodeInfo`.
    pub os_image: String,
    /// `containerd://1.6.20`, ...
    pub runtime_version: String,
    /// Images that are here.
    pub images: Vec<NodeImage>,
}

/// An image that is on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// Digests and tags.
    pub names: Vec<String>,
    /// Bytes.
    pub size_bytes: u64,
}

/// The whole object, for a node that is not there yet.
pub fn object(facts: &Facts, now: Timestamp) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": facts.name, "labels": labels(facts), "annotations": annotations(facts) },
        "spec": spec(facts),
        "status": with_times(status(facts), None, now),
    })
}

/// What is missing in the known object's labels, annotations and spec; `None` where nothing is.
pub fn metadata_patch(known: &Map<String, Value>, facts: &Facts) -> Option<Value> {
    let at = |path: [&str; 2]| known.get(path[0]).and_then(|part| part.get(path[1]));
    let missing = |wanted: Map<String, Value>, field: &str| -> Map<String, Value> {
        let have = at(["metadata", field]);
        wanted.into_iter().filter(|(key, value)| have.and_then(|have| have.get(key)) != Some(value)).collect()
    };
    let (labels, annotations) = (missing(labels(facts), "labels"), missing(annotations(facts), "annotations"));
    let no_cidr = at(["spec", "podCIDR"]).is_none() && !facts.pod_cidr.is_empty();
    if labels.is_empty() && annotations.is_empty() && !no_cidr {
        return None;
    }
    let mut patch = json!({ "metadata": { "labels": labels, "annotations": annotations } });
    if let Some(patch) = patch.as_object_mut().filter(|_| no_cidr) {
        patch.insert("spec".into(), spec(facts));
    }
    Some(patch)
}

/// What the known status lacks; `None` where nothing has changed. Heartbeats alone are no change: they are gossip.
pub fn status_patch(known: &Map<String, Value>, facts: &Facts, now: Timestamp) -> Option<Value> {
    let wanted = status(facts);
    let known = known.get("status");
    let same = wanted.iter().all(|(name, value)| {
        let known = known.and_then(|known| known.get(name));
        if name == "conditions" { same_conditions(value, known) } else { known == Some(value) }
    });
    (!same).then(|| json!({ "status": with_times(wanted, known, now) }))
}

/// The node's lease. It is held by liveness, which is gossip; the object tells that it exists.
pub fn lease(name: &str, node: &Map<String, Value>, now: Timestamp) -> Value {
    let uid = node.get("metadata").and_then(|meta| meta.get("uid")).cloned().unwrap_or_default();
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-node-lease",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }],
        },
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now.rfc3339_micro(),
        },
    })
}

fn labels(facts: &Facts) -> Map<String, Value> {
    let arch = facts.architecture.as_str();
    let own = facts.labels.iter().map(|(key, value)| (key.clone(), json!(value)));
    let fixed = [
        ("beta.kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("kubernetes.io/hostname", &facts.name),
        ("kubernetes.io/os", "linux"),
    ];
    own.chain(fixed.map(|(key, value)| (key.to_owned(), json!(value)))).collect()
}

fn annotations(facts: &Facts) -> Map<String, Value> {
    let port = (facts.api_port != 0).then(|| (API_PORT.to_owned(), json!(facts.api_port.to_string())));
    port.into_iter().collect()
}

fn spec(facts: &Facts) -> Value {
    if facts.pod_cidr.is_empty() {
        return json!({});
    }
    json!({ "podCIDR": facts.pod_cidr, "podCIDRs": [facts.pod_cidr] })
}

fn status(facts: &Facts) -> Map<String, Value> {
    let resources = json!({
        "cpu": facts.cpus.to_string(),
        "ephemeral-storage": kibibytes(facts.disk_bytes),
        "memory": kibibytes(facts.memory_bytes),
        "pods": facts.max_pods.to_string(),
    });
    let addresses = facts.ips.iter().map(|ip| json!({ "type": "InternalIP", "address": ip.to_string() }));
    let addresses: Vec<Value> = addresses.chain([json!({ "type": "Hostname", "address": facts.name })]).collect();
    let body = json!({
        "addresses": addresses,
        "capacity": resources,
        "allocatable": resources,
        "conditions": conditions(),
        "images": images(facts),
        "nodeInfo": {
            "architecture": facts.architecture, "bootID": facts.boot_id,
            "containerRuntimeVersion": facts.runtime_version, "kernelVersion": facts.kernel_version,
            "kubeProxyVersion": "", "kubeletVersion": KUBELET_VERSION, "machineID": facts.machine_id,
            "operatingSystem": "linux", "osImage": facts.os_image, "systemUUID": facts.system_uuid,
        },
    });
    body.as_object().cloned().unwrap_or_default()
}

/// Bytes in the form that the API keeps: anything else would look like a change for ever.
fn kibibytes(bytes: u64) -> String {
    let text = format!("{}Ki", bytes / 1024);
    Quantity::canonical(&text).unwrap_or(text)
}

fn conditions() -> Value {
    let one = |kind: &str, status: &str, reason: &str, message: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message });
    json!([
        one("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        one("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        one("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        one("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ])
}

/// The biggest images, so that the list is bounded and stable.
fn images(facts: &Facts) -> Value {
    let mut images: Vec<&NodeImage> = facts.images.iter().collect();
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    images
        .into_iter()
        .take(MAX_IMAGES)
        .map(|image| {
            let names: Vec<&String> = image.names.iter().take(MAX_IMAGE_NAMES).collect();
            json!({ "names": names, "sizeBytes": image.size_bytes })
        })
        .collect()
}

fn same_conditions(wanted: &Value, known: Option<&Value>) -> bool {
    let empty = Vec::new();
    let wanted = wanted.as_array().unwrap_or(&empty);
    wanted.iter().all(|wanted| {
        find(known, wanted).is_some_and(|known| {
            ["status", "reason", "message"].iter().all(|field| known.get(field) == wanted.get(field))
        })
    })
}

fn find<'a>(conditions: Option<&'a Value>, like: &Value) -> Option<&'a Value> {
    conditions?.as_array()?.iter().find(|one| one.get("type") == like.get("type"))
}

/// Gives conditions their times; one that did not change keeps its transition time.
fn with_times(mut status: Map<String, Value>, known: Option<&Value>, now: Timestamp) -> Value {
    let known = known.and_then(|known| known.get("conditions"));
    let mut all: Vec<Value> = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    for one in &mut all {
        let before = find(known, one).filter(|before| before.get("status") == one.get("status"));
        let since = before.and_then(|before| before.get("lastTransitionTime")).cloned();
        if let Some(one) = one.as_object_mut() {
            one.insert("lastHeartbeatTime".into(), json!(now.rfc3339()));
            one.insert("lastTransitionTime".into(), since.unwrap_or_else(|| json!(now.rfc3339())));
        }
    }
    // Conditions of others (cloud, problem detectors) stay.
    let theirs = known.and_then(Value::as_array).into_iter().flatten();
    let theirs: Vec<Value> =
        theirs.filter(|one| !all.iter().any(|own| own.get("type") == one.get("type"))).cloned().collect();
    all.extend(theirs);
    status.insert("conditions".into(), Value::Array(all));
    Value::Object(status)
}
