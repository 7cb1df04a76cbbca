//! The `kubernetes` service in `default`: how pods find the API.

use std::net::IpAddr;

use rand::RngCore;
use serde_json::{Value, json};

use super::endpointslice::SERVICE_NAME;
use super::{Command, Controller, Plan, Snapshot, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, ResourceId, Timestamp};

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
/// The port that pods ask for.
const PORT: u16 = 443;

/// Keeps the service and the endpoints behind it.
#[derive(Debug)]
pub struct KubernetesService {
    /// Where the API listens, as pods reach it.
    address: IpAddr,
    port: u16,
    /// The service's own address; the API chooses one where not given.
    cluster_ip: Option<IpAddr>,
}

impl KubernetesService {
    /// The API answers at `address`:`port`.
    pub fn new(address: IpAddr, port: u16, cluster_ip: Option<IpAddr>) -> Self {
        Self { address, port, cluster_ip }
    }

    fn service(&self) -> Value {
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE,
                "labels": { "component": "apiserver", "provider": "kubernetes" },
            },
            "spec": {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "ports": [{ "name": "https", "port": PORT, "protocol": "TCP", "targetPort": self.port }],
            },
        });
        if let (Some(address), Some(spec)) = (self.cluster_ip, body.get_mut("spec")) {
            write::set(spec, "clusterIP", address.to_string().into());
        }
        body
    }

    fn endpoints(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE,
                "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
            },
            "subsets": [{
                "addresses": [{ "ip": self.address.to_string() }],
                "ports": [{ "name": "https", "port": self.port, "protocol": "TCP" }],
            }],
        })
    }

    fn slice(&self) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { SERVICE_NAME: NAME } },
            "addressType": if self.address.is_ipv6() { "IPv6" } else { "IPv4" },
            "endpoints": [{ "addresses": [self.address.to_string()], "conditions": { "ready": true } }],
            "ports": [{ "name": "https", "port": self.port, "protocol": "TCP" }],
        })
    }
}

impl Controller for KubernetesService {
    fn name(&self) -> &'static str {
        "kubernetes-service-controller"
    }

    fn initial(&self) -> Vec<ObjectKey> {
        vec![ObjectKey::new(id::SERVICES, NAMESPACE, NAME)]
    }

    fn marks(&self, object: &Object, _snapshot: &Snapshot) -> Vec<ObjectKey> {
        let ours = &*object.key.name == NAME && &*object.key.namespace == NAMESPACE;
        let home = object.key.is(id::NAMESPACES) && &*object.key.name == NAMESPACE;
        if ours || home { self.initial() } else { Vec::new() }
    }

    fn reconcile(
        &self,
        _key: &ObjectKey,
        snapshot: &Snapshot,
        _now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        if snapshot.get(&ObjectKey::new(id::NAMESPACES, "", NAMESPACE)).is_none() {
            return Ok(Plan::default());
        }
        let wanted = [
            (id::SERVICES, self.service(), None),
            (id::ENDPOINTS, self.endpoints(), Some("subsets")),
            (id::ENDPOINT_SLICES, self.slice(), Some("endpoints")),
        ];
        let mut commands = Vec::new();
        for (resource, body, follows) in wanted {
            commands.extend(keep(resource, body, follows, snapshot)?);
        }
        Ok(Plan { commands, again_after: None })
    }
}

/// Creates the object where it is missing; where its field `follows` differs, makes it like `body`.
fn keep(
    resource: ResourceId,
    body: Value,
    follows: Option<&str>,
    snapshot: &Snapshot,
) -> Result<Option<Command>, DecodeError> {
    let Some(object) = snapshot.get(&ObjectKey::new(resource, NAMESPACE, NAME)) else {
        return Ok(Some(Command::Create { resource, namespace: NAMESPACE.to_owned(), body }));
    };
    let mut current = object.value()?;
    let differs =
        follows.is_some_and(|field| current.get(field) != body.get(field) || current.get("ports") != body.get("ports"));
    if !differs {
        return Ok(None);
    }
    for field in ["subsets", "endpoints", "ports"] {
        if let Some(value) = body.get(field) {
            write::set(&mut current, field, value.clone());
        }
    }
    // The family of a slice cannot change: one of the other family is replaced.
    if current.get("addressType") != body.get("addressType") {
        return Ok(Some(write::delete(object)));
    }
    Ok(Some(write::replace(object, None, current)))
}
