//! What users see of defaulting.

use super::*;
use crate::kube::resource::TABLE;

fn applied(kind: &str, mut value: Value) -> Value {
    let resource = TABLE.iter().find(|resource| resource.kind == kind).unwrap();
    apply(resource, &mut value);
    let once = value.clone();
    apply(resource, &mut value);
    assert_eq!(value, once, "defaulting twice changes nothing");
    value
}

#[test]
fn the_smallest_pod_shows_what_kubernetes_shows() {
    let pod = applied(
        "Pod",
        json!({ "metadata": { "name": "a", "creationTimestamp": null },
                                     "spec": { "containers": [{ "name": "a", "image": "nginx", "env": [] }] } }),
    );
    assert_eq!(
        pod,
        json!({
            "metadata": { "name": "a" },
            "spec": {
                "containers": [{
                    "image": "nginx", "imagePullPolicy": "Always", "name": "a", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
                "priority": 0, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
                "terminationGracePeriodSeconds": 30,
            },
            "status": {},
        })
    );
}

#[test]
fn an_image_is_pulled_always_only_by_the_tag_latest() {
    let check = |image: &str, want: &str| {
        let pod = applied("Pod", json!({ "spec": { "containers": [{ "name": "a", "image": image }] } }));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], want, "{image}");
    };
    check("nginx", "Always");
    check("nginx:latest", "Always");
    check("host:5000/nginx", "Always");
    check("nginx:1.27", "IfNotPresent");
    check("host:5000/nginx:1.27", "IfNotPresent");
    check("nginx@sha256:0123", "IfNotPresent");
    check("nginx:latest@sha256:0123", "Always");
}

#[test]
fn parts_of_pods_get_their_defaults() {
    let check = |spec: Value, pointer: &str, want: Value| {
        let pod = applied("Pod", json!({ "spec": spec }));
        assert_eq!(pod["spec"].pointer(pointer), Some(&want), "{spec}");
    };
    let container = |extra: Value| {
        let mut container = json!({ "name": "a", "image": "b:1" });
        container.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "containers": [container] })
    };
    let volume = |source: Value| {
        let mut volume = json!({ "name": "v" });
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({ "volumes": [volume] })
    };
    check(
        container(json!({ "livenessProbe": { "httpGet": { "port": 80 } } })),
        "/containers/0/livenessProbe",
        json!({ "httpGet": { "path": "/", "port": 80, "scheme": "HTTP" }, "failureThreshold": 3, "periodSeconds": 10,
                "successThreshold": 1, "timeoutSeconds": 1 }),
    );
    check(
        container(
            json!({ "resources": { "limits": { "cpu": 0.5, "memory": "64Mi" }, "requests": { "cpu": "100m" } } }),
        ),
        "/containers/0/resources",
        json!({ "limits": { "cpu": "500m", "memory": "64Mi" }, "requests": { "cpu": "100m", "memory": "64Mi" } }),
    );
    check(
        container(json!({ "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }] })),
        "/containers/0/env/0/valueFrom/fieldRef",
        json!({ "apiVersion": "v1", "fieldPath": "metadata.name" }),
    );
    check(volume(json!({})), "/volumes/0", json!({ "name": "v", "emptyDir": {} }));
    check(volume(json!({ "secret": { "secretName": "s" } })), "/volumes/0/secret/defaultMode", 420.into());
    check(volume(json!({ "hostPath": { "path": "/x" } })), "/volumes/0/hostPath", json!({ "path": "/x", "type": "" }));
    check(
        json!({ "hostNetwork": true, "containers": [{ "name": "a", "ports": [{ "containerPort": 80 }] }] }),
        "/containers/0/ports/0",
        json!({ "containerPort": 80, "hostPort": 80, "protocol": "TCP" }),
    );
    check(json!({ "serviceAccount": "old" }), "/serviceAccountName", "old".into());
    check(json!({ "priorityClassName": "system-node-critical" }), "/priority", 2_000_001_000.into());
}

#[test]
fn workloads_get_their_defaults_and_their_templates_too() {
    let deployment = applied(
        "Deployment",
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "a", "image": "b" }] } } } }),
    );
    let spec = &deployment["spec"];
    assert_eq!(
        spec["strategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } })
    );
    assert_eq!([&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]], [1, 10, 600]);
    assert_eq!(spec["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert!(spec["template"]["spec"]["enableServiceLinks"].is_null(), "only pods themselves get it");
    let recreate = applied("Deployment", json!({ "spec": { "strategy": { "type": "Recreate" } } }));
    assert_eq!(recreate["spec"]["strategy"], json!({ "type": "Recreate" }));
    let rc =
        applied("ReplicationController", json!({ "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } }));
    assert_eq!(rc["spec"]["selector"], json!({ "a": "b" }));
    assert_eq!(rc["metadata"]["labels"], json!({ "a": "b" }));
}

#[test]
fn services_and_small_kinds_get_their_defaults() {
    let service = applied("Service", json!({ "spec": { "ports": [{ "port": 80 }], "selector": {} } }));
    assert_eq!(
        service["spec"],
        json!({ "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }], "sessionAffinity": "None", "type": "ClusterIP" })
    );
    let external = applied("Service", json!({ "spec": { "type": "ExternalName", "externalName": "x.y" } }));
    assert_eq!(external["spec"], json!({ "type": "ExternalName", "externalName": "x.y", "sessionAffinity": "None" }));
    let secret = applied("Secret", json!({ "stringData": { "a": "stuff" }, "data": { "b": "Yg==" } }));
    assert_eq!(secret, json!({ "type": "Opaque", "data": { "a": "c3R1ZmY=", "b": "Yg==" } }));
    let namespace = applied("Namespace", json!({ "metadata": { "name": "a" } }));
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
}
