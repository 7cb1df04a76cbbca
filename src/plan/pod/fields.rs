//! The downward API: fields of the pod and resources of its containers, as text; and where other text comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, ResourceFieldSelector, Secret, Service};

use super::containers;
use crate::model::Quantity;

/// Looks objects up, as they are now. `Err` where an object is there and cannot be read.
pub trait Sources {
    /// A config map.
    fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, String>;
    /// A secret.
    fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, String>;
    /// Services of a namespace.
    fn services(&self, namespace: &str) -> Result<Vec<Service>, String>;
}

/// What specs are built from.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Addresses of the node.
    pub node_ips: &'a [IpAddr],
    /// Addresses of the pod.
    pub pod_ips: &'a [IpAddr],
    /// Cores and bytes of memory of the node: the limits of containers that have none.
    pub node_cpus: u64,
    /// See `node_cpus`.
    pub node_memory_bytes: u64,
    /// Other objects.
    pub sources: &'a dyn Sources,
}

impl Facts<'_> {
    /// Namespace of the pod.
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// A field, as `fieldRef` names it.
    ///
    /// # Errors
    /// Where there is no such field.
    pub fn field(&self, path: &str) -> Result<String, String> {
        let (meta, spec) = (&self.pod.metadata, self.pod.spec.as_ref());
        let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
        let join = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match path {
            "metadata.name" => text(meta.name.as_ref()),
            "metadata.namespace" => text(meta.namespace.as_ref()),
            "metadata.uid" => text(meta.uid.as_ref()),
            "metadata.labels" => Ok(lines(meta.labels.as_ref())),
            "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
            "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
            "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
            "status.hostIP" => Ok(self.node_ips.first().map(ToString::to_string).unwrap_or_default()),
            "status.hostIPs" => Ok(join(self.node_ips)),
            "status.podIP" => Ok(self.pod_ips.first().map(ToString::to_string).unwrap_or_default()),
            "status.podIPs" => Ok(join(self.pod_ips)),
            _ => self.entry(path),
        }
    }

    /// `metadata.labels['key']`, `metadata.annotations['key']`.
    fn entry(&self, path: &str) -> Result<String, String> {
        let meta = &self.pod.metadata;
        let inner = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
        let pick = |map: Option<&BTreeMap<String, String>>, key: &str| {
            Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default())
        };
        match (inner("metadata.labels"), inner("metadata.annotations")) {
            (Some(key), _) => pick(meta.labels.as_ref(), key),
            (_, Some(key)) => pick(meta.annotations.as_ref(), key),
            _ => Err(format!("unsupported fieldPath: {path}")),
        }
    }

    /// A resource, as `resourceFieldRef` names it; `of` is the container where none is named.
    ///
    /// # Errors
    /// Where there is no such container or resource.
    pub fn resource(&self, selector: &ResourceFieldSelector, of: Option<&Container>) -> Result<String, String> {
        let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
        let container = match named {
            Some(name) => containers::find(self.pod, name).map(|slot| slot.container),
            None => of,
        };
        let container = container.ok_or_else(|| format!("container {} not found", named.unwrap_or_default()))?;
        let (list, resource) = selector
            .resource
            .split_once('.')
            .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
        let resources = container.resources.as_ref();
        let given = match list {
            "limits" => resources.and_then(|resources| resources.limits.as_ref()),
            "requests" => resources.and_then(|resources| resources.requests.as_ref()),
            _ => return Err(format!("unsupported container resource : {}", selector.resource)),
        };
        let given = given.and_then(|given| given.get(resource)).and_then(|given| Quantity::parse(&given.0));
        let amount = given.unwrap_or_else(|| self.fallback(list, resource));
        let divisor = selector.divisor.as_ref().and_then(|divisor| Quantity::parse(&divisor.0));
        let divisor = divisor.map(|divisor| divisor.nano).filter(|nano| *nano > 0).unwrap_or(1_000_000_000);
        Ok((-(-amount.nano).div_euclid(divisor)).to_string())
    }

    /// A limit that is not set is what the node has; a request that is not set is nothing.
    fn fallback(&self, list: &str, resource: &str) -> Quantity {
        let units = match (list, resource) {
            ("limits", "cpu") => self.node_cpus,
            ("limits", "memory") => self.node_memory_bytes,
            _ => 0,
        };
        Quantity { nano: i128::from(units) * 1_000_000_000 }
    }
}

/// `key="value"`, one a line, as Kubernetes writes maps into files.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}
