//! The endpoints that a service should have, grouped as slices must be: by address family and ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::backend::{self, Backend, BackendPort};
use crate::plan::{Snapshot, select, write};

const ZONE: &str = "topology.kubernetes.io/zone";

/// The kind of address in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
    /// Names; not made here.
    Fqdn,
}

/// Endpoints that may share slices, by identity.
pub(super) struct Group {
    pub family: Family,
    pub ports: Value,
    pub endpoints: BTreeMap<String, Value>,
}

impl Family {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
            Self::Fqdn => "FQDN",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "IPv6" => Self::V6,
            "FQDN" => Self::Fqdn,
            _ => Self::V4,
        }
    }

    fn holds(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Fqdn => false,
        }
    }
}

/// The families that the service serves; IPv4 where it does not say.
pub(super) fn families(service: &Service) -> Vec<Family> {
    let named = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let families: Vec<Family> = named.into_iter().flatten().map(|name| Family::parse(name)).collect();
    if families.is_empty() { vec![Family::V4] } else { families }
}

/// The family that the service names first.
pub(super) fn first_family(service: &Service) -> Family {
    families(service).first().copied().unwrap_or(Family::V4)
}

/// What an endpoint is about: the uid of its pod.
pub(super) fn identity(endpoint: &Value) -> String {
    endpoint.pointer("/targetRef/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn groups(key: &ObjectKey, service: &Service, snapshot: &Snapshot) -> Result<Vec<Group>, DecodeError> {
    let publish = backend::publishes_not_ready(service);
    let backends = backend::of_service(key, service, snapshot)?;
    let mut groups: BTreeMap<(Family, Vec<BackendPort>), BTreeMap<String, Value>> = BTreeMap::new();
    for family in families(service) {
        for backend in &backends {
            let Some(address) = backend.addresses.iter().find(|address| family.holds(**address)) else { continue };
            let endpoint = render(backend, *address, publish, &key.name, snapshot);
            let mut ports = backend.ports.clone();
            ports.sort();
            groups.entry((family, ports)).or_default().insert(identity(&endpoint), endpoint);
        }
    }
    let group = |((family, ports), endpoints): ((Family, Vec<BackendPort>), _)| Group {
        family,
        ports: ports.iter().map(render_port).collect(),
        endpoints,
    };
    Ok(groups.into_iter().map(group).collect())
}

fn render(backend: &Backend, address: IpAddr, publish: bool, service: &str, snapshot: &Snapshot) -> Value {
    let mut endpoint = json!({
        "addresses": [address.to_string()],
        "conditions": {
            "ready": publish || (backend.serving && !backend.terminating),
            "serving": backend.serving,
            "terminating": backend.terminating,
        },
        "targetRef": backend.target(),
    });
    if let Some(hostname) = backend.hostname(service) {
        write::set(&mut endpoint, "hostname", hostname.into());
    }
    if let Some(node) = backend.object.pod_node() {
        write::set(&mut endpoint, "nodeName", node.into());
        let node = snapshot.get(&ObjectKey::new(id::NODES, "", node));
        if let Some(zone) = node.and_then(|node| select::label(node, ZONE)) {
            write::set(&mut endpoint, "zone", zone.into());
        }
    }
    endpoint
}

fn render_port(port: &BackendPort) -> Value {
    let mut out = json!({ "name": port.name, "port": port.port, "protocol": port.protocol });
    if let Some(protocol) = &port.app_protocol {
        write::set(&mut out, "appProtocol", protocol.as_str().into());
    }
    out
}
