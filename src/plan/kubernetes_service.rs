//! The `kubernetes` service in `default`: how pods find the API. Behind it is the API of every node that lives.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use rand::RngCore;
use serde_json::{Value, json};

use super::endpointslice::SERVICE_NAME;
use super::registration::API_PORT;
use super::{Command, Controller, Plan, Snapshot, select, write};
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
    /// Where the API listens on the node that plans, as pods reach it: stands for all until one is Ready.
    address: IpAddr,
    port: u16,
    /// The service's own address; the API chooses one where not given.
    cluster_ip: Option<IpAddr>,
}

/// Addresses that share a family and a port, in order.
type Groups = BTreeMap<(bool, u16), Vec<IpAddr>>;

impl KubernetesService {
    /// The API of the node that plans answers at `address`:`port`.
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

    /// Where the API answers: on every node that is Ready and that nobody suspects. `None` where that is nobody and
    /// something is known already, which then is the best guess.
    fn live(&self, snapshot: &Snapshot) -> Result<Option<Groups>, DecodeError> {
        let mut groups = Groups::new();
        for object in snapshot.list(id::NODES, None).filter(|object| !snapshot.doubted(&object.key.name)) {
            if let Some((address, port)) = api_of(&*object.view::<Node>()?) {
                groups.entry((address.is_ipv6(), port)).or_default().push(address);
            }
        }
        groups.values_mut().for_each(|group| group.sort_unstable());
        if !groups.is_empty() {
            return Ok(Some(groups));
        }
        let known = snapshot.get(&ObjectKey::new(id::ENDPOINTS, NAMESPACE, NAME)).is_some();
        Ok((!known).then(|| [((self.address.is_ipv6(), self.port), vec![self.address])].into()))
    }
}

/// The API of a node that is Ready and tells its port.
fn api_of(node: &Node) -> Option<(IpAddr, u16)> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    let port = node.metadata.annotations.as_ref()?.get(API_PORT)?.parse().ok()?;
    let address = status.addresses.iter().flatten().find(|one| one.type_ == "InternalIP")?.address.parse().ok()?;
    ready.then_some((address, port))
}

fn ports(port: u16) -> Value {
    json!([{ "name": "https", "port": port, "protocol": "TCP" }])
}

fn endpoints(groups: &Groups) -> Value {
    let subset = |((_, port), addresses): (&(bool, u16), &Vec<IpAddr>)| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip.to_string() })).collect();
        json!({ "addresses": addresses, "ports": ports(*port) })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": groups.iter().map(subset).collect::<Vec<_>>(),
    })
}

/// One slice a group: the first has the service's name, which is all that a cluster needs whose nodes use one port.
fn slices(groups: &Groups) -> BTreeMap<String, Value> {
    let slice = |(nth, ((v6, port), addresses)): (usize, (&(bool, u16), &Vec<IpAddr>))| {
        let name = if nth == 0 { NAME.to_owned() } else { format!("{NAME}-v{}-{port}", if *v6 { 6 } else { 4 }) };
        let ready = |ip: &IpAddr| json!({ "addresses": [ip.to_string()], "conditions": { "ready": true } });
        let body = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": { SERVICE_NAME: NAME } },
            "addressType": if *v6 { "IPv6" } else { "IPv4" },
            "endpoints": addresses.iter().map(ready).collect::<Vec<_>>(),
            "ports": ports(*port),
        });
        (name, body)
    };
    groups.iter().enumerate().map(slice).collect()
}

/// Whether a slice is one of [`slices`], by its name.
fn is_slice(name: &str) -> bool {
    let rest = name.strip_prefix(NAME);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-v4-") || rest.starts_with("-v6-"))
}

impl Controller for KubernetesService {
    fn name(&self) -> &'static str {
        "kubernetes-service-controller"
    }

    fn initial(&self) -> Vec<ObjectKey> {
        vec![ObjectKey::new(id::SERVICES, NAMESPACE, NAME)]
    }

    fn marks(&self, object: &Object, _snapshot: &Snapshot) -> Vec<ObjectKey> {
        let ours = &*object.key.namespace == NAMESPACE && is_slice(&object.key.name);
        let home = object.key.is(id::NAMESPACES) && &*object.key.name == NAMESPACE;
        if ours || home || object.key.is(id::NODES) { self.initial() } else { Vec::new() }
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
        let mut commands = Vec::new();
        commands.extend(keep(id::SERVICES, NAME, self.service(), None, snapshot)?);
        if let Some(groups) = self.live(snapshot)? {
            commands.extend(keep(id::ENDPOINTS, NAME, endpoints(&groups), Some("subsets"), snapshot)?);
            let wanted = slices(&groups);
            let stale = snapshot.list(id::ENDPOINT_SLICES, Some(NAMESPACE)).filter(|slice| {
                let theirs = select::label(slice, SERVICE_NAME) == Some(NAME) && is_slice(&slice.key.name);
                theirs && !wanted.contains_key(&*slice.key.name) && !slice.is_terminating()
            });
            commands.extend(stale.map(|slice| write::delete(slice)));
            for (name, body) in wanted {
                commands.extend(keep(id::ENDPOINT_SLICES, &name, body, Some("endpoints"), snapshot)?);
            }
        }
        Ok(Plan { commands, again_after: None })
    }
}

/// Creates the object where it is missing; where its field `follows` differs, makes it like `body`.
fn keep(
    resource: ResourceId,
    name: &str,
    body: Value,
    follows: Option<&str>,
    snapshot: &Snapshot,
) -> Result<Option<Command>, DecodeError> {
    let Some(object) = snapshot.get(&ObjectKey::new(resource, NAMESPACE, name)) else {
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

#[cfg(test)]
mod tests;
