//! Behaviour of writes and deletions.

use super::*;
use crate::kube::resource::TABLE;

fn res(kind: &str) -> &'static Resource {
    TABLE.iter().find(|res| res.kind == kind).unwrap()
}

fn stamp() -> Stamp<'static> {
    let mut rng = <rand_chacha::ChaCha12Rng as rand::SeedableRng>::seed_from_u64(1);
    let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
    Stamp { now, uid: Uid::random(&mut rng), suffix: "x7k2p", user: "admin" }
}

#[test]
fn a_new_object_gets_its_identity_and_loses_what_only_the_server_says() {
    let mut pod = json!({
        "metadata": { "generateName": "web-", "deletionTimestamp": "2020-01-01T00:00:00Z", "uid": "mine" },
        "spec": { "containers": [{ "name": "a" }] },
        "status": { "phase": "Running" },
    });
    prepare_create(res("Pod"), "default", &mut pod, &stamp()).unwrap();
    assert_eq!(
        pod,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "generateName": "web-", "name": "web-x7k2p", "namespace": "default", "generation": 1,
                "uid": stamp().uid.to_string(), "creationTimestamp": "2026-11-20T08:00:00Z",
            },
            "spec": { "containers": [{ "name": "a" }] },
            "status": { "phase": "Pending", "qosClass": "BestEffort" },
        })
    );
}

#[test]
fn a_body_about_another_object_is_refused() {
    let check = |body: Value, message: &str| {
        let failure = prepare_create(res("Pod"), "default", &mut body.clone(), &stamp()).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (400, message), "{body}");
    };
    check(
        json!({ "metadata": { "namespace": "other" } }),
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    check(json!({ "kind": "Service" }), "the kind in the data (Service) does not match the expected kind (Pod)");
    check(
        json!({ "apiVersion": "apps/v1" }),
        "the API version in the data (apps/v1) does not match the expected API version (v1)",
    );
    let old = json!({ "metadata": { "name": "a", "namespace": "default", "uid": "1" } });
    let update = |mut body: Value| prepare_update(res("Pod"), None, &old, &mut body, &stamp()).unwrap_err().code;
    assert_eq!(update(json!({ "metadata": { "name": "b" } })), 400);
    assert_eq!(update(json!({ "metadata": { "uid": "2" } })), 409);
}

fn updated(kind: &str, subresource: Option<&str>, old: &Value, mut new: Value) -> Value {
    prepare_update(res(kind), subresource, old, &mut new, &stamp()).unwrap();
    new
}

#[test]
fn spec_and_status_change_only_through_their_own_door_and_the_generation_counts_the_spec() {
    let old = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": "a", "namespace": "n", "uid": "1", "creationTimestamp": "t", "generation": 4 },
        "spec": { "replicas": 1 }, "status": { "replicas": 1 },
    });
    let mut body = old.clone();
    body["spec"]["replicas"] = 2.into();
    body["status"]["replicas"] = 2.into();
    body["metadata"]["generation"] = 77.into();
    let seen = |new: &Value| {
        let number = |value: &Value| value.as_i64().unwrap();
        [number(&new["spec"]["replicas"]), number(&new["status"]["replicas"]), number(&new["metadata"]["generation"])]
    };
    assert_eq!(seen(&updated("ReplicaSet", None, &old, body.clone())), [2, 1, 5]);
    assert_eq!(seen(&updated("ReplicaSet", Some("status"), &old, body)), [1, 2, 4]);
    assert_eq!(seen(&updated("ReplicaSet", None, &old, old.clone())), [1, 1, 4]);
}

#[test]
fn a_service_keeps_its_addresses_when_an_update_leaves_them_out() {
    let old = json!({
        "metadata": { "name": "a", "namespace": "n" },
        "spec": { "type": "NodePort", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "ports": [{ "port": 80, "nodePort": 30080 }] },
    });
    let body = json!({ "metadata": { "name": "a" }, "spec": { "type": "NodePort", "ports": [{ "port": 80, "name": "web" }] } });
    let new = updated("Service", None, &old, body);
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.9");
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
}

#[test]
fn deletion_waits_for_running_pods_and_for_finalizers() {
    let pod = |node: &str, phase: &str| {
        json!({ "metadata": { "name": "a" }, "status": { "phase": phase },
                "spec": { "nodeName": node, "terminationGracePeriodSeconds": 30 } })
    };
    let marked = |grace_seconds: i64, finalizers: &[&str]| {
        Deletion::Mark(Mark { grace_seconds, finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect() })
    };
    let mut leaving = pod("n1", "Running");
    leaving["metadata"]["deletionTimestamp"] = "2026-11-20T08:00:30Z".into();
    leaving["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    let held = json!({ "metadata": { "finalizers": ["x/y"] } });
    let namespace = json!({ "metadata": { "name": "a" }, "spec": { "finalizers": ["kubernetes"] } });
    let foreground = Some(Propagation::Foreground);
    let cases = [
        ("Pod", pod("n1", "Running"), None, None, marked(30, &[])),
        ("Pod", pod("n1", "Running"), Some(5), None, marked(5, &[])),
        ("Pod", pod("n1", "Running"), Some(0), None, Deletion::Now),
        ("Pod", pod("", "Pending"), None, None, Deletion::Now),
        ("Pod", pod("n1", "Succeeded"), None, None, Deletion::Now),
        ("Pod", leaving.clone(), None, None, Deletion::Pending),
        ("Pod", leaving.clone(), Some(60), None, Deletion::Pending),
        ("Pod", leaving.clone(), Some(5), None, marked(5, &[])),
        ("Pod", leaving.clone(), Some(0), None, Deletion::Now),
        ("ConfigMap", json!({ "metadata": {} }), None, None, Deletion::Now),
        ("ConfigMap", held.clone(), Some(0), None, marked(0, &["x/y"])),
        ("ReplicaSet", json!({ "metadata": {} }), None, foreground, marked(0, &["foregroundDeletion"])),
        ("ReplicaSet", held, None, Some(Propagation::Orphan), marked(0, &["x/y", "orphan"])),
        ("Namespace", namespace, None, None, marked(0, &[])),
    ];
    for (kind, value, grace, propagation, want) in cases {
        assert_eq!(deletion(res(kind), &value, grace, propagation), want, "{kind} {value} {grace:?}");
    }
}

#[test]
fn a_mark_says_until_when_and_a_shorter_one_moves_that_forward() {
    let mut pod = json!({ "metadata": { "name": "a", "generation": 1 } });
    let write = |pod: &mut Value, grace_seconds: i64| {
        mark(res("Pod"), pod, &Mark { grace_seconds, finalizers: vec![] }, stamp().now);
        (pod["metadata"]["deletionTimestamp"].as_str().unwrap().to_owned(), pod["metadata"]["generation"].clone())
    };
    assert_eq!(write(&mut pod, 30), ("2026-11-20T08:00:30Z".into(), 2.into()));
    assert!(!finished(res("Pod"), &pod));
    assert_eq!(write(&mut pod, 5), ("2026-11-20T08:00:05Z".into(), 2.into()));
    assert_eq!(write(&mut pod, 0), ("2026-11-20T08:00:00Z".into(), 2.into()));
    assert!(finished(res("Pod"), &pod));
    let mut namespace = json!({ "metadata": { "name": "a" }, "spec": { "finalizers": ["kubernetes"] } });
    mark(res("Namespace"), &mut namespace, &Mark { grace_seconds: 0, finalizers: vec![] }, stamp().now);
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert!(!finished(res("Namespace"), &namespace));
    namespace["spec"]["finalizers"] = json!([]);
    assert!(finished(res("Namespace"), &namespace));
}
