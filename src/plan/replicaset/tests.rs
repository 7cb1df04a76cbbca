//! Tables of replica sets.

use serde_json::{Value, json};

use super::{REPLICA_SETS, REPLICATION_CONTROLLERS};
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::tests::{Cluster, pod};

fn set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" }, "annotations": { "a": "b" } },
                "spec": { "containers": [{ "name": "main", "image": "a", "fieldOfTheFuture": 1 }] },
            },
        },
    })
}

fn pod_key(name: &str) -> ObjectKey {
    ObjectKey::new(id::PODS, "default", name)
}

#[test]
fn pods_are_made_from_the_template_with_every_field_of_it() {
    let mut cluster = Cluster::new();
    let key = cluster.put(set(2));
    cluster.settle(&[&REPLICA_SETS]);
    let pods = cluster.list(id::PODS);
    assert_eq!(pods.len(), 2);
    assert_eq!(pods[0]["spec"]["containers"][0]["fieldOfTheFuture"], 1);
    assert_eq!(pods[0]["metadata"]["annotations"], json!({ "a": "b" }));
    assert_eq!(pods[0]["metadata"]["generateName"], "web-");
    let owner = &pods[0]["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["controller"], &owner["blockOwnerDeletion"]), (&json!(true), &json!(true)));
    assert!(cluster.events.contains(&format!("SuccessfulCreate: Created pod: {}", cluster.names(id::PODS)[0])));
    let status = &cluster.value(&key)["status"];
    assert_eq!((&status["replicas"], &status["fullyLabeledReplicas"]), (&json!(2), &json!(2)));
    assert_eq!(status["observedGeneration"], 1);
}

#[test]
fn orphans_are_adopted_and_strays_let_go() {
    let mut cluster = Cluster::new();
    cluster.put(pod("orphan", json!({ "app": "web" })));
    cluster.put(pod("other", json!({ "app": "db" })));
    cluster.put(set(1));
    cluster.settle(&[&REPLICA_SETS]);
    assert_eq!(cluster.names(id::PODS), ["orphan", "other"]);
    assert_eq!(cluster.value(&pod_key("orphan"))["metadata"]["ownerReferences"][0]["name"], "web");
    cluster.edit(&pod_key("orphan"), |pod| pod["metadata"]["labels"]["app"] = "debug".into());
    cluster.settle(&[&REPLICA_SETS]);
    assert_eq!(cluster.value(&pod_key("orphan"))["metadata"].get("ownerReferences"), None);
    assert_eq!(cluster.names(id::PODS).len(), 3);
}

#[test]
fn a_pod_that_ended_or_is_going_is_replaced() {
    let mut cluster = Cluster::new();
    cluster.put(set(2));
    cluster.settle(&[&REPLICA_SETS]);
    let names = cluster.names(id::PODS);
    cluster.edit(&pod_key(&names[0]), |pod| pod["status"] = json!({ "phase": "Failed" }));
    cluster.edit(&pod_key(&names[1]), |pod| pod["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into());
    cluster.settle(&[&REPLICA_SETS]);
    assert_eq!(cluster.names(id::PODS).len(), 4);
}

/// Shrinks a set of the given pods to `keep` and names those that went. A pod is written
/// `name [node] [ready|unready] [cost=N] [age=SECONDS]`.
fn check_victims(pods: &[&str], keep: i32, expect: &[&str]) {
    let mut cluster = Cluster::new();
    cluster.pass(100_000);
    for text in pods {
        let mut words = text.split(' ');
        let mut body = pod(words.next().unwrap(), json!({ "app": "web" }));
        for word in words {
            match word.split_once('=') {
                Some(("node", node)) => body["spec"]["nodeName"] = node.into(),
                Some(("cost", cost)) => {
                    body["metadata"]["annotations"] = json!({ "controller.kubernetes.io/pod-deletion-cost": cost });
                }
                Some(("age", age)) => {
                    let created = crate::model::Timestamp(cluster.now.0 - age.parse::<i64>().unwrap() * 1_000_000);
                    body["metadata"]["creationTimestamp"] = created.rfc3339().into();
                }
                _ => {
                    let status = if word == "ready" { "True" } else { "False" };
                    body["status"] =
                        json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] });
                }
            }
        }
        cluster.put(body);
    }
    cluster.put(set(keep));
    cluster.settle(&[&REPLICA_SETS]);
    let gone: Vec<String> = cluster
        .writes
        .iter()
        .filter_map(|write| write.strip_prefix("delete pods/default/"))
        .map(str::to_owned)
        .collect();
    assert_eq!(gone, expect, "{pods:?}");
}

#[test]
fn a_shrinking_set_gives_up_the_pods_that_are_missed_least() {
    check_victims(&["a node=n1 ready", "b"], 1, &["b"]);
    check_victims(&["a node=n1 ready", "b node=n1 unready", "c node=n1"], 1, &["c", "b"]);
    check_victims(&["a node=n1 ready cost=10", "b node=n2 ready cost=-1", "c node=n3 ready"], 1, &["b", "c"]);
    check_victims(&["a node=n1 ready age=9000", "b node=n1 ready age=9000", "c node=n2 ready age=1"], 2, &["a"]);
    check_victims(&["a node=n1 ready age=90", "b node=n2 ready age=10"], 1, &["b"]);
}

#[test]
fn a_replication_controller_does_the_same() {
    let mut cluster = Cluster::new();
    let mut body = set(2);
    body["apiVersion"] = "v1".into();
    body["kind"] = "ReplicationController".into();
    body["spec"]["selector"] = json!({ "app": "web" });
    let key = cluster.put(body);
    cluster.settle(&[&REPLICA_SETS, &REPLICATION_CONTROLLERS]);
    assert_eq!(cluster.names(id::PODS).len(), 2);
    assert_eq!(cluster.value(&key)["status"]["replicas"], 2);
    let owner = &cluster.list(id::PODS)[0]["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["apiVersion"], &owner["kind"]), (&json!("v1"), &json!("ReplicationController")));
}
