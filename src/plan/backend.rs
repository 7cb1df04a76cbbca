//! The pods behind a service: which belong to it, and which of their ports its ports lead to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::{Snapshot, readiness, select};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::ObjectKey;

/// A pod behind a service.
pub struct Backend {
    /// The pod, as stored.
    pub object: Arc<Object>,
    /// The pod, decoded.
    pub pod: Arc<Pod>,
    /// Its addresses, IPv4 or IPv6.
    pub addresses: Vec<IpAddr>,
    /// Where the service's ports lead in it.
    pub ports: Vec<BackendPort>,
    /// Whether it is ready to serve, and nobody suspects its node.
    pub serving: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// A service's port, resolved in one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendPort {
    /// The service port's name; may be empty.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// In the pod.
    pub port: i32,
    /// As the service declares it.
    pub app_protocol: Option<String>,
}

/// The services that a change of `object` may matter to: itself, those whose selector takes the pod, or those that lead
/// to the node.
pub fn marks(object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
    if object.key.is(id::SERVICES) {
        return vec![object.key.clone()];
    }
    if object.key.is(id::NODES) {
        let here = snapshot.pods_on(&object.key.name);
        return here.flat_map(|pod| marks(pod, snapshot)).collect::<BTreeSet<_>>().into_iter().collect();
    }
    if !object.key.is(id::PODS) {
        return Vec::new();
    }
    let takes = |service: &&Arc<Object>| {
        // A service that cannot be decoded is marked, so that its reconciler says so.
        service.view::<Service>().map_or(true, |service| {
            selector(&service).is_some_and(|labels| select::matches(&select::of_map(Some(labels)), object))
        })
    };
    let services = snapshot.list(id::SERVICES, Some(&object.key.namespace));
    services.filter(takes).map(|service| service.key.clone()).collect()
}

/// The service's selector, where it has one that selects anything.
pub fn selector(service: &Service) -> Option<&std::collections::BTreeMap<String, String>> {
    service.spec.as_ref()?.selector.as_ref().filter(|labels| !labels.is_empty())
}

/// Pods with an address that the service selects and that have not ended, in key order.
///
/// # Errors
/// Where a pod cannot be decoded.
pub fn of_service(key: &ObjectKey, service: &Service, snapshot: &Snapshot) -> Result<Vec<Backend>, DecodeError> {
    let Some(labels) = selector(service) else { return Ok(Vec::new()) };
    let wanted = select::of_map(Some(labels));
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut backends = Vec::new();
    for object in snapshot.list(id::PODS, Some(&key.namespace)).filter(|pod| select::matches(&wanted, pod)) {
        let pod: Arc<Pod> = object.view()?;
        let addresses = addresses(&pod);
        if addresses.is_empty() || readiness::is_ended(&pod) {
            continue;
        }
        backends.push(Backend {
            ports: ports.iter().filter_map(|port| resolve(port, &pod)).collect(),
            serving: readiness::is_ready(&pod) && !object.pod_node().is_some_and(|node| snapshot.doubted(node)),
            terminating: object.is_terminating(),
            object: Arc::clone(object),
            pod,
            addresses,
        });
    }
    Ok(backends)
}

/// Whether the service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Whether pods that are not ready, or going, count as ready.
pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

impl Backend {
    /// The reference to the pod.
    pub fn target(&self) -> Value {
        json!({
            "kind": "Pod",
            "namespace": &*self.object.key.namespace,
            "name": &*self.object.key.name,
            "uid": self.object.uid(),
        })
    }

    /// The pod's own host name under the service, where it asks for one.
    pub fn hostname(&self, service: &str) -> Option<&str> {
        let spec = self.pod.spec.as_ref()?;
        let hostname = spec.hostname.as_deref().filter(|name| !name.is_empty())?;
        (spec.subdomain.as_deref() == Some(service)).then_some(hostname)
    }
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    let mut out: Vec<IpAddr> = Vec::new();
    for address in all.chain(status.pod_ip.as_deref()).filter_map(|text| text.parse().ok()) {
        if !out.contains(&address) {
            out.push(address);
        }
    }
    out
}

/// A named target port is looked up in the pod's containers; a pod that has none by that name is left out of the port.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<BackendPort> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    let name = port.name.clone().unwrap_or_default();
    Some(BackendPort { name, protocol, port: number, app_protocol: port.app_protocol.clone() })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let found = ports
        .find(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol)?;
    Some(found.container_port)
}
