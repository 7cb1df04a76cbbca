//! What is refused, where, and in which words.

use serde_json::json;

use super::*;
use crate::kube::resource::{TABLE, id};

fn res(kind: &str) -> &'static Resource {
    TABLE.iter().find(|res| res.kind == kind).unwrap()
}

fn lines(causes: Vec<Cause>) -> Vec<String> {
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// Merges `change` into a valid object of the kind, defaults it, and says what is wrong.
fn created(kind: &str, change: &Value) -> Vec<String> {
    let mut value = valid(kind);
    json_patch::merge(&mut value, change);
    crate::kube::default::apply(res(kind), &mut value);
    lines(create(res(kind), &value))
}

fn valid(kind: &str) -> Value {
    let pod = json!({ "containers": [{ "name": "a", "image": "b" }] });
    let template = json!({ "metadata": { "labels": { "app": "a" } }, "spec": pod });
    let meta = json!({ "name": "a", "namespace": "default" });
    let workload =
        json!({ "metadata": meta, "spec": { "selector": { "matchLabels": { "app": "a" } }, "template": template } });
    match kind {
        "Pod" => json!({ "metadata": meta, "spec": pod }),
        "Deployment" | "ReplicaSet" => workload,
        "Service" => json!({ "metadata": meta, "spec": { "ports": [{ "port": 80 }] } }),
        "EndpointSlice" => {
            json!({ "metadata": meta, "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"] }] })
        }
        "Namespace" => json!({ "metadata": { "name": "a" } }),
        _ => json!({ "metadata": meta }),
    }
}

#[test]
fn the_plain_objects_that_the_tests_start_from_are_valid() {
    for kind in
        ["Pod", "Deployment", "ReplicaSet", "Service", "EndpointSlice", "Namespace", "ConfigMap", "Secret", "Lease"]
    {
        assert_eq!(created(kind, &json!({})), Vec::<String>::new(), "{kind}");
    }
}

fn check(kind: &str, change: Value, want: &[&str]) {
    let found = created(kind, &change);
    let fits = found.len() == want.len() && found.iter().zip(want).all(|(have, want)| have.starts_with(want));
    assert!(fits, "{kind} {change}\n  found {found:#?}\n  want {want:#?}");
}

#[test]
fn metadata_is_checked_for_every_kind() {
    check(
        "ConfigMap",
        json!({ "metadata": { "name": "Bad_" } }),
        &["metadata.name: Invalid value: \"Bad_\": a lowercase RFC 1123 subdomain must consist of"],
    );
    check(
        "ConfigMap",
        json!({ "metadata": { "name": null } }),
        &["metadata.name: Required value: name or generateName is required"],
    );
    check(
        "Namespace",
        json!({ "metadata": { "name": "a.b" } }),
        &["metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label"],
    );
    check(
        "ConfigMap",
        json!({ "metadata": { "labels": { "a b": "c", "d": "e f" } } }),
        &[
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
            "metadata.labels: Invalid value: \"e f\": a valid label must",
        ],
    );
    check(
        "ConfigMap",
        json!({ "metadata": { "annotations": { "a": "x".repeat(300_000) } } }),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
    check(
        "ConfigMap",
        json!({ "metadata": { "finalizers": ["mine"] } }),
        &[
            "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
        ],
    );
    check(
        "ConfigMap",
        json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "a" }] } }),
        &["metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"],
    );
}

#[test]
fn pods_are_refused_with_the_path_of_what_is_wrong() {
    let container = |extra: Value| {
        let mut container = json!({ "name": "a", "image": "b" });
        json_patch::merge(&mut container, &extra);
        json!({ "spec": { "containers": [container] } })
    };
    let spec = |extra: Value| json!({ "spec": extra });
    let cases: &[(Value, &[&str])] = &[
        (spec(json!({ "containers": [] })), &["spec.containers: Required value"]),
        (container(json!({ "image": null })), &["spec.containers[0].image: Required value"]),
        (
            container(json!({ "name": "A" })),
            &["spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label"],
        ),
        (
            spec(json!({ "containers": [{ "name": "a", "image": "b" }, { "name": "a", "image": "b" }] })),
            &["spec.containers[1].name: Duplicate value: \"a\""],
        ),
        (
            container(json!({ "ports": [{ "containerPort": 70000 }] })),
            &[
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            container(
                json!({ "ports": [{ "containerPort": 1, "hostPort": 5 }, { "containerPort": 2, "hostPort": 5 }] }),
            ),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\""],
        ),
        (container(json!({ "env": [{ "value": "x" }] })), &["spec.containers[0].env[0].name: Required value"]),
        (
            container(json!({ "env": [{ "name": "A", "valueFrom": {} }] })),
            &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of:"],
        ),
        (
            container(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }] })),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
        (
            container(json!({ "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "2" } } })),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            container(json!({ "livenessProbe": {} })),
            &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            container(json!({ "imagePullPolicy": "Sometimes" })),
            &[
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (spec(json!({ "restartPolicy": "Maybe" })), &["spec.restartPolicy: Unsupported value: \"Maybe\""]),
        (
            spec(json!({ "volumes": [{ "name": "v", "emptyDir": {}, "hostPath": { "path": "/x" } }] })),
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            spec(json!({ "volumes": [{ "name": "v", "configMap": {} }] })),
            &["spec.volumes[0].configMap.name: Required value"],
        ),
    ];
    for (change, want) in cases {
        check("Pod", change.clone(), want);
    }
}

#[test]
fn of_a_pod_only_images_deadlines_and_more_tolerations_may_change() {
    let mut old = valid("Pod");
    crate::kube::default::apply(res("Pod"), &mut old);
    old["spec"]["tolerations"] = json!([{ "key": "t", "operator": "Exists" }]);
    let check = |pointer: &str, value: Value, want: &[&str]| {
        let mut new = old.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = new.pointer_mut(parent).unwrap();
        parent[field] = value;
        let found = lines(update(res("Pod"), None, &old, &new));
        assert!(
            found.len() == want.len() && found.iter().zip(want).all(|(have, want)| have.starts_with(want)),
            "{pointer} {found:?}"
        );
    };
    check("/spec/containers/0/image", json!("c"), &[]);
    check("/spec/activeDeadlineSeconds", json!(5), &[]);
    check("/metadata/labels", json!({ "a": "b" }), &[]);
    check("/spec/nodeName", json!("n1"), &["spec: Forbidden: pod updates may not change fields other than"]);
    check(
        "/spec/containers",
        json!([{ "name": "a", "image": "b" }, { "name": "x", "image": "b" }]),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
    check("/spec/tolerations", json!([]), &["spec: Forbidden:"]);
    let mut more = old["spec"]["tolerations"].clone();
    more.as_array_mut().unwrap().push(json!({ "key": "k", "operator": "Exists" }));
    check("/spec/tolerations", more, &[]);
}

#[test]
fn workloads_need_a_selector_that_matches_and_stays() {
    check("Deployment", json!({ "spec": { "selector": null } }), &["spec.selector: Required value"]);
    check(
        "Deployment",
        json!({ "spec": { "template": { "metadata": { "labels": { "app": "b" } } } } }),
        &["spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`"],
    );
    check(
        "Deployment",
        json!({ "spec": { "replicas": -1 } }),
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(
        "Deployment",
        json!({ "spec": { "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 0 } } } }),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    check(
        "ReplicaSet",
        json!({ "spec": { "template": { "spec": { "restartPolicy": "Never" } } } }),
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    let old = valid("Deployment");
    let mut new = old.clone();
    let other = json!({ "matchLabels": { "app": "b" } });
    new["spec"]["selector"] = other;
    new["spec"]["template"]["metadata"]["labels"]["app"] = "b".into();
    crate::kube::default::apply(res("Deployment"), &mut new);
    let found = lines(update(res("Deployment"), None, &old, &new));
    assert_eq!(found, ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"]);
}

#[test]
fn services_and_small_kinds_have_their_rules() {
    check("Service", json!({ "spec": { "ports": [] } }), &["spec.ports: Required value"]);
    check(
        "Service",
        json!({ "spec": { "ports": [{ "port": 99999, "targetPort": 80 }] } }),
        &["spec.ports[0].port: Invalid value: 99999: must be between"],
    );
    check(
        "Service",
        json!({ "spec": { "ports": [{ "port": 80 }, { "port": 81 }] } }),
        &["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    );
    check(
        "Service",
        json!({ "spec": { "ports": [{ "port": 80, "nodePort": 30000 }] } }),
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    check(
        "ConfigMap",
        json!({ "data": { "a/b": "" } }),
        &["data[a/b]: Invalid value: \"a/b\": a valid config key must"],
    );
    check(
        "ConfigMap",
        json!({ "data": { "a": "x".repeat(1 << 21) } }),
        &["[]: Too long: may not be more than 1048576 bytes"],
    );
    check(
        "Secret",
        json!({ "type": "kubernetes.io/tls" }),
        &["data[tls.crt]: Required value", "data[tls.key]: Required value"],
    );
    check(
        "Lease",
        json!({ "spec": { "leaseDurationSeconds": 0 } }),
        &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
    );
    check(
        "EndpointSlice",
        json!({ "endpoints": [{ "addresses": ["fd00::1"] }] }),
        &["endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"],
    );
    let event = TABLE.iter().find(|res| res.id == id::EVENTS).unwrap();
    let stray = json!({ "metadata": { "name": "a", "namespace": "n" }, "involvedObject": { "namespace": "m" } });
    assert_eq!(
        lines(create(event, &stray)),
        ["involvedObject.namespace: Invalid value: \"m\": does not match event.namespace"]
    );
}

#[test]
fn an_immutable_config_map_changes_only_its_metadata() {
    let old = json!({ "metadata": { "name": "a", "namespace": "n" }, "immutable": true, "data": { "a": "b" } });
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({ "x": "y" });
    assert_eq!(lines(update(res("ConfigMap"), None, &old, &new)), Vec::<String>::new());
    new["data"]["a"] = "c".into();
    assert_eq!(
        lines(update(res("ConfigMap"), None, &old, &new)),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
}
