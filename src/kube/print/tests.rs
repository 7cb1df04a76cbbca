//! What `kubectl get` shows.

use serde_json::{Value, json};

use super::{IncludeObject, human_duration, partial_list, table};
use crate::kube::resource::find;
use crate::model::Timestamp;

const NOW: &str = "2026-11-20T08:00:00Z";

fn show(group: &str, plural: &str, object: &Value) -> Vec<String> {
    let resource = find(group, "v1", plural).unwrap();
    let now = Timestamp::parse(NOW).unwrap();
    let table = table(resource, [object], now, IncludeObject::None, true, json!({}));
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells.len(), table["columnDefinitions"].as_array().unwrap().len());
    cells.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect()
}

fn pod(status: Value) -> Value {
    json!({ "metadata": { "name": "p", "creationTimestamp": "2026-11-20T07:54:30Z" },
        "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }, { "name": "j" }] },
        "status": status })
}

/// READY, STATUS and RESTARTS.
fn pod_cells(pod: &Value) -> [String; 3] {
    let cells = show("", "pods", pod);
    [cells[1].clone(), cells[2].clone(), cells[3].clone()]
}

#[test]
fn durations_read_as_kubectl_shows_them() {
    for (seconds, expect) in [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (600, "10m"),
        (179 * 60 + 59, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600 + 300, "8h"),
        (48 * 3600, "2d"),
        (76 * 3600, "3d4h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (800 * 86400, "2y70d"),
        (8 * 365 * 86400 + 5 * 86400, "8y"),
    ] {
        assert_eq!(human_duration(seconds), expect, "{seconds}");
    }
}

#[test]
fn a_running_pod_fills_every_column() {
    let running = |name: &str| json!({ "name": name, "ready": true, "restartCount": 0, "state": { "running": {} } });
    let mut object = pod(json!({ "phase": "Running", "podIPs": [{ "ip": "10.0.0.7" }],
        "containerStatuses": [running("a"), running("b")], "conditions": [{ "type": "g", "status": "True" }] }));
    object["spec"]["nodeName"] = json!("n1");
    object["spec"]["readinessGates"] = json!([{ "conditionType": "g" }, { "conditionType": "h" }]);
    assert_eq!(show("", "pods", &object), ["p", "2/2", "Running", "0", "5m30s", "10.0.0.7", "n1", "<none>", "1/2"]);
}

#[test]
fn the_status_of_a_pod_is_what_its_containers_are_doing() {
    let ok = json!({ "name": "x", "ready": true, "state": { "running": {} } });
    let done = json!({ "name": "x", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } });
    let waiting = |reason: &str| {
        json!({ "name": "i", "restartCount": 2, "state": { "waiting": { "reason": reason } },
        "lastState": { "terminated": { "finishedAt": "2026-11-20T07:59:55Z" } } })
    };
    let ended = |end: Value| json!({ "name": "i", "state": { "terminated": end } });
    let all = |list: Value| json!({ "phase": "Running", "containerStatuses": list });
    let init = |list: Value| json!({ "phase": "Pending", "initContainerStatuses": list });
    for (status, ready, expect, restarts) in [
        (json!({ "phase": "Pending" }), "0/2", "Pending", "0"),
        (json!({ "phase": "Failed", "reason": "Evicted" }), "0/2", "Evicted", "0"),
        (all(json!([ok, waiting("CrashLoopBackOff")])), "1/2", "CrashLoopBackOff", "2 (5s ago)"),
        (all(json!([ok, done])), "1/2", "NotReady", "0"),
        (all(json!([done, done])), "0/2", "Completed", "0"),
        (all(json!([done, ended(json!({ "exitCode": 3 }))])), "0/2", "ExitCode:3", "0"),
        (all(json!([ended(json!({ "exitCode": 137, "signal": 9 })), ok])), "1/2", "Signal:9", "0"),
        (init(json!([waiting("PodInitializing")])), "0/2", "Init:0/2", "2 (5s ago)"),
        (init(json!([done, waiting("CrashLoopBackOff")])), "0/2", "Init:CrashLoopBackOff", "2 (5s ago)"),
        (init(json!([ended(json!({ "exitCode": 1 }))])), "0/2", "Init:ExitCode:1", "0"),
        (init(json!([ended(json!({ "exitCode": 1, "reason": "Error" }))])), "0/2", "Init:Error", "0"),
    ] {
        assert_eq!(pod_cells(&pod(status.clone())), [ready, expect, restarts], "{status}");
    }
    let mut ready = all(json!([ok, done]));
    ready["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    assert_eq!(pod_cells(&pod(ready))[1], "Running");
}

#[test]
fn a_pod_that_is_being_deleted_says_so_unless_it_has_ended_or_its_node_is_lost() {
    for (status, expect) in [
        (json!({ "phase": "Running" }), "Terminating"),
        (json!({ "phase": "Succeeded" }), "Succeeded"),
        (json!({ "phase": "Running", "reason": "NodeLost" }), "Unknown"),
    ] {
        let mut object = pod(status);
        object["metadata"]["deletionTimestamp"] = json!(NOW);
        assert_eq!(pod_cells(&object)[1], expect);
    }
}

#[test]
fn sidecars_count_as_containers_once_started() {
    let mut object = pod(json!({ "phase": "Running",
        "initContainerStatuses": [
            { "name": "i", "restartCount": 4, "state": { "terminated": { "exitCode": 0 } } },
            { "name": "j", "restartCount": 1, "started": true, "ready": true, "state": { "running": {} } } ],
        "containerStatuses": [{ "name": "a", "ready": true, "restartCount": 1, "state": { "running": {} } }] }));
    object["spec"]["initContainers"][1]["restartPolicy"] = json!("Always");
    assert_eq!(pod_cells(&object), ["2/3", "Running", "2"]);
}

/// Shows an object called `x`, a minute old where it says nothing else, and compares its cells.
#[track_caller]
fn check(group: &str, plural: &str, mut object: Value, expect: &str) {
    if object.get("metadata").is_none() {
        object["metadata"] = json!({ "name": "x", "creationTimestamp": "2026-11-20T07:59:00Z" });
    }
    assert_eq!(show(group, plural, &object).join(" "), expect, "{plural}");
}

#[test]
fn workloads_show_what_kubectl_shows() {
    let template =
        json!({ "spec": { "containers": [{ "name": "a", "image": "i:1" }, { "name": "b", "image": "j" }] } });
    let selector = json!({ "matchLabels": { "app": "web" },
        "matchExpressions": [{ "key": "t", "operator": "In", "values": ["z"] }] });
    let deployment = json!({ "spec": { "replicas": 3, "template": template, "selector": selector },
        "status": { "readyReplicas": 2, "updatedReplicas": 3 } });
    check("apps", "deployments", deployment, "x 2/3 3 0 60s a,b i:1,j app=web,t in (z)");
    let set = json!({ "spec": { "replicas": 3, "template": template, "selector": {} }, "status": { "replicas": 2 } });
    check("apps", "replicasets", set, "x 3 2 0 60s a,b i:1,j <none>");
    let labels = json!({ "b": "2", "a": "1" });
    let controller = json!({ "spec": { "replicas": 1, "template": template, "selector": labels } });
    check("", "replicationcontrollers", controller, "x 1 0 0 60s a,b i:1,j a=1,b=2");
}

#[test]
fn services_and_their_endpoints_show_what_kubectl_shows() {
    let ports = json!([{ "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }]);
    let service = json!({ "spec": { "type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": ports } });
    check("", "services", service, "x NodePort 10.0.0.1 <none> 80:30080/TCP,53/UDP 60s <none>");
    let service = json!({ "spec": { "type": "LoadBalancer", "clusterIPs": ["None"] } });
    check("", "services", service, "x LoadBalancer None <pending> <none> 60s <none>");
    let addresses = json!([{ "ip": "1.1.1.1" }, { "ip": "f::1" }]);
    let subset = json!({ "addresses": addresses, "ports": [{ "port": 80 }, { "port": 81 }] });
    let shown = "x 1.1.1.1:80,[f::1]:80,1.1.1.1:81 + 1 more... 60s";
    check("", "endpoints", json!({ "subsets": [subset] }), shown);
    check("", "endpoints", json!({}), "x <none> 60s");
    let slice = json!({ "addressType": "IPv4", "ports": [{ "port": 80 }, { "name": "web" }, {}],
        "endpoints": [{ "addresses": ["1.1.1.1"] }] });
    check("discovery.k8s.io", "endpointslices", slice, "x IPv4 80,web,* 1.1.1.1 60s");
    check("discovery.k8s.io", "endpointslices", json!({ "addressType": "IPv4" }), "x IPv4 <unset> <unset> 60s");
}

#[test]
fn the_other_kinds_show_what_kubectl_shows() {
    let labels = json!({ "node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge" });
    let node = json!({ "metadata": { "name": "x", "creationTimestamp": NOW, "labels": labels },
        "spec": { "unschedulable": true },
        "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }], "nodeInfo": { "kubeletVersion": "v1" },
            "addresses": [{ "type": "InternalIP", "address": "10.1.1.1" }] } });
    let shown = "x NotReady,SchedulingDisabled edge,worker 0s v1 10.1.1.1 <none> <unknown> <unknown> <unknown>";
    check("", "nodes", node, shown);
    check("", "namespaces", json!({ "status": { "phase": "Active" } }), "x Active 60s");
    check("", "configmaps", json!({ "data": { "a": "" }, "binaryData": { "b": "" } }), "x 2 60s");
    check("", "secrets", json!({ "type": "Opaque", "data": { "a": "" } }), "x Opaque 1 60s");
    check("", "serviceaccounts", json!({}), "x 60s");
    check("coordination.k8s.io", "leases", json!({ "spec": { "holderIdentity": "n1" } }), "x n1 60s");
}

#[test]
fn both_faces_of_an_event_show_the_same() {
    let core = json!({ "metadata": { "name": "e" }, "type": "Warning", "reason": "Failed", "message": " no image\n",
        "involvedObject": { "kind": "Pod", "name": "p", "fieldPath": "spec" }, "source": { "component": "agent", "host": "n" },
        "firstTimestamp": "2026-11-20T07:50:00Z", "lastTimestamp": "2026-11-20T07:59:50Z", "count": 4, "eventTime": null });
    let expect = ["10s", "Warning", "Failed", "pod/p", "spec", "agent, n", "no image", "10m", "4", "e"];
    assert_eq!(show("", "events", &core), expect);
    let faced = crate::kube::events::to_events_v1(core);
    assert_eq!(show("events.k8s.io", "events", &faced), expect);
    let series = json!({ "metadata": { "name": "e" }, "eventTime": "2026-11-20T07:58:20.000000Z",
        "series": { "count": 9, "lastObservedTime": "2026-11-20T07:59:59.000000Z" } });
    let cells = show("", "events", &series);
    assert_eq!([&*cells[0], &*cells[7], &*cells[8]], ["1s", "100s", "9"]);
}

#[test]
fn rows_carry_as_much_of_the_object_as_is_asked_for() {
    let resource = find("", "v1", "pods").unwrap();
    let object = pod(json!({ "phase": "Succeeded" }));
    let now = Timestamp::parse(NOW).unwrap();
    let of = |include| table(resource, [&object], now, include, false, json!({ "resourceVersion": "7" }));
    let row = &of(IncludeObject::Metadata)["rows"][0];
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"], object["metadata"]);
    assert_eq!((&row["object"]["spec"], &row["conditions"][0]["type"]), (&Value::Null, &json!("Completed")));
    assert_eq!(of(IncludeObject::Object)["rows"][0]["object"], object);
    let bare = of(IncludeObject::None);
    assert_eq!((&bare["rows"][0]["object"], &bare["columnDefinitions"]), (&Value::Null, &json!([])));
    assert_eq!(bare["metadata"]["resourceVersion"], "7");
    let list = partial_list([&object], json!({ "resourceVersion": "7" }));
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]),
        (&json!("PartialObjectMetadataList"), &object["metadata"])
    );
}
