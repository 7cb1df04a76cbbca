//! Whether a node may join under a name, and what the cluster then knows of it: its Node object is the register.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{Command, Snapshot};
use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::model::ObjectKey;

/// Annotation of a Node: its number in the replicated log.
pub const REPLICA: &str = "shoal.dev/replica";
/// Most nodes of a cluster.
pub const MAX_NODES: usize = 10_000;

/// What the register has of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number in the replicated log, where it has one.
    pub replica: Option<u64>,
    /// Addresses of its pods; empty where none are given yet.
    pub pod_cidr: String,
}

/// What the register has under a name.
///
/// # Errors
/// Where the Node object cannot be decoded.
pub fn registered(snapshot: &Snapshot, name: &str) -> Result<Option<Registered>, DecodeError> {
    let key = ObjectKey::new(id::NODES, "", name);
    let Some(object) = snapshot.get(&key) else { return Ok(None) };
    let node = object.view::<Node>()?;
    let annotation = node.metadata.annotations.as_ref().and_then(|all| all.get(REPLICA));
    Ok(Some(Registered {
        replica: annotation.and_then(|number| number.parse().ok()),
        pod_cidr: node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()).unwrap_or_default(),
    }))
}

/// Addresses of pods that nodes of the register have.
///
/// # Errors
/// Where a Node object cannot be decoded: giving its addresses away again would be worse.
pub fn taken(snapshot: &Snapshot) -> Result<BTreeSet<String>, DecodeError> {
    let mut taken = BTreeSet::new();
    for object in snapshot.list(id::NODES, None) {
        let node = object.view::<Node>()?;
        taken.extend(node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()));
    }
    Ok(taken)
}

/// How many nodes the register has.
pub fn count(snapshot: &Snapshot) -> usize {
    snapshot.list(id::NODES, None).count()
}

/// Writes a node into the register: its object is made, or told its new number. The node fills in the rest.
pub fn register(name: &str, known: Option<&Registered>, replica: u64, pod_cidr: &str) -> Command {
    let annotations = json!({ REPLICA: replica.to_string() });
    if known.is_some() {
        let key = ObjectKey::new(id::NODES, "", name);
        let body = json!({ "metadata": { "annotations": annotations } });
        return Command::Patch { key, subresource: None, body };
    }
    let body = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "annotations": annotations, "labels": { "kubernetes.io/hostname": name } },
        "spec": spec(pod_cidr),
    });
    Command::Create { resource: id::NODES, namespace: String::new(), body }
}

fn spec(pod_cidr: &str) -> Value {
    if pod_cidr.is_empty() { json!({}) } else { json!({ "podCIDR": pod_cidr, "podCIDRs": [pod_cidr] }) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kube::object::Object;
    use crate::model::Revision;

    fn put(snapshot: &mut Snapshot, body: &Value) {
        let key = ObjectKey::new(id::NODES, "", body["metadata"]["name"].as_str().unwrap());
        let mut body = body.clone();
        body["metadata"]["uid"] = body["metadata"]["name"].clone();
        let bytes = serde_json::to_vec(&body).unwrap().into();
        snapshot.put(Arc::new(Object::new(key, Revision(1), bytes).unwrap()));
    }

    #[test]
    fn a_registered_node_is_found_again_with_its_number_and_addresses() {
        let mut snapshot = Snapshot::default();
        assert_eq!(registered(&snapshot, "b").unwrap(), None);
        let Command::Create { body, .. } = register("b", None, 77, "10.244.1.0/24") else { panic!("not a new node") };
        put(&mut snapshot, &body);
        let known = registered(&snapshot, "b").unwrap().unwrap();
        assert_eq!(known, Registered { replica: Some(77), pod_cidr: "10.244.1.0/24".into() });
        assert_eq!(taken(&snapshot).unwrap(), BTreeSet::from(["10.244.1.0/24".to_owned()]));
        let Command::Patch { body, .. } = register("b", Some(&known), 78, &known.pod_cidr) else { panic!("not known") };
        assert_eq!(body["metadata"]["annotations"][REPLICA], "78");
    }

    #[test]
    fn a_number_that_is_none_is_no_number() {
        let mut snapshot = Snapshot::default();
        put(&mut snapshot, &json!({ "metadata": { "name": "b", "annotations": { REPLICA: "seven" } } }));
        assert_eq!(registered(&snapshot, "b").unwrap().unwrap().replica, None);
    }
}
