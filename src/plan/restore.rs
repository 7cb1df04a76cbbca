//! What a restore changes: which objects a backup may bring back, and in which order.

use serde_json::Value;

use crate::kube::resource::id;
use crate::model::{ObjectKey, ResourceId};

const LEASES: ResourceId = ResourceId::new("coordination.k8s.io", "leases");
const EVENTS: [ResourceId; 2] = [ResourceId::new("", "events"), ResourceId::new("events.k8s.io", "events")];
/// Namespaces of the cluster itself.
const SYSTEM: [&str; 2] = ["kube-system", "kube-node-lease"];
/// What the names of the cluster's own objects begin with.
const OWN: &str = "shoal-";

/// Passes of a restore; see [`pass`].
pub const PASSES: u8 = 4;

/// Whether a restore may touch an object. What the cluster is now stays as it is: its nodes and their replicas, who leads
/// which control actor, who was refused and by which authority, which tokens let nodes in. Rolled back, a removed node
/// would be let in again, an old authority believed, a stale epoch taken. Events say what happened, and stay too.
pub fn may_touch(key: &ObjectKey) -> bool {
    let system = SYSTEM.contains(&&*key.namespace);
    let own = system && key.name.starts_with(OWN) && (key.is(id::SECRETS) || key.is(id::CONFIG_MAPS));
    let lease = system && key.is(LEASES);
    !(own || lease || key.is(id::NODES) || EVENTS.iter().any(|events| key.is(*events)))
}

/// The pass that writes an object: a namespace before what is in it, an owner before what it owns, or the collector of
/// garbage would take those away again.
pub fn pass(key: &ObjectKey, object: &Value) -> u8 {
    let owned =
        object.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    match () {
        () if key.is(id::NAMESPACES) => 0,
        () if !owned => 1,
        () if key.is(id::PODS) => 3,
        () => 2,
    }
}

/// Whether two versions of an object say the same; their revisions do not count.
pub fn same(one: &Value, other: &Value) -> bool {
    plain(one) == plain(other)
}

fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(resource: &str, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn what_the_cluster_is_now_is_not_rolled_back() {
        for (resource, namespace, name, expect) in [
            ("nodes", "", "n1", false),
            ("events", "default", "x", false),
            ("leases.coordination.k8s.io", "kube-system", "scheduler", false),
            ("leases.coordination.k8s.io", "kube-node-lease", "n1", false),
            ("configmaps", "kube-system", "shoal-revoked", false),
            ("secrets", "kube-system", "shoal-join-3k9x2f", false),
            ("leases.coordination.k8s.io", "default", "mine", true),
            ("secrets", "kube-system", "mine", true),
            ("configmaps", "default", "shoal-mine", true),
            ("pods", "kube-system", "shoal-pod", true),
            ("namespaces", "", "default", true),
        ] {
            assert_eq!(may_touch(&key(resource, namespace, name)), expect, "{resource} {namespace}/{name}");
        }
    }

    #[test]
    fn owners_come_before_what_they_own() {
        let owned = json!({ "metadata": { "ownerReferences": [{ "uid": "u" }] } });
        let free = json!({ "metadata": { "ownerReferences": [] } });
        assert_eq!(pass(&key("namespaces", "", "a"), &free), 0);
        assert_eq!(pass(&key("deployments.apps", "a", "d"), &free), 1);
        assert_eq!(pass(&key("pods", "a", "p"), &free), 1);
        assert_eq!(pass(&key("replicasets.apps", "a", "d-1"), &owned), 2);
        assert_eq!(pass(&key("pods", "a", "d-1-x"), &owned), 3);
    }

    #[test]
    fn a_revision_alone_is_no_difference() {
        let at = |revision: &str, data: &str| json!({ "metadata": { "name": "a", "resourceVersion": revision }, "data": data });
        assert!(same(&at("1", "x"), &at("2", "x")) && !same(&at("1", "x"), &at("1", "y")));
    }
}
