//! Tables of the controllers that keep the house: namespaces, garbage, endpoints, nodes, old pods and events.

use serde_json::{Value, json};

use super::{Cluster, node, pod};
use crate::kube::resource::id;
use crate::model::{ObjectKey, ResourceId};
use crate::plan::command::Propagation;
use crate::plan::deployment::Deployments;
use crate::plan::endpoints::EndpointsOfServices;
use crate::plan::endpointslice::EndpointSlices;
use crate::plan::event_ttl::EventTtl;
use crate::plan::garbage::GarbageCollector;
use crate::plan::kubernetes_service::KubernetesService;
use crate::plan::namespace::Namespaces;
use crate::plan::node::Nodes;
use crate::plan::pod_gc::PodGc;
use crate::plan::replicaset::REPLICA_SETS;
use crate::plan::service_account::ServiceAccounts;
use crate::plan::taint_eviction::TaintEviction;
use crate::plan::{Command, Controller};

pub(super) fn key(resource: ResourceId, name: &str) -> ObjectKey {
    ObjectKey::new(resource, "default", name)
}

pub(super) fn set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "m" }] } },
        },
    })
}

/// A set with two pods, deleted in the given way; the writes of the collector that follow.
fn deleted(propagation: Propagation) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::new();
    let set = cluster.put(set(2));
    cluster.settle(&[&REPLICA_SETS, &GarbageCollector]);
    cluster.writes.clear();
    cluster.delete(&set, Some(propagation), None);
    cluster.settle(&[&REPLICA_SETS, &GarbageCollector]);
    let writes = cluster.writes.iter().map(|write| write.split('/').next().unwrap().to_owned()).collect();
    (cluster, writes)
}

#[test]
fn owned_objects_go_after_before_or_not_at_all() {
    let (cluster, writes) = deleted(Propagation::Background);
    assert_eq!(cluster.names(id::PODS), Vec::<String>::new());
    assert_eq!(writes, ["delete replicasets.apps", "delete pods", "delete pods"]);
    let (cluster, writes) = deleted(Propagation::Foreground);
    assert_eq!((cluster.names(id::PODS), cluster.names(id::REPLICA_SETS)), (vec![], vec![]));
    assert_eq!(writes[..3], ["delete replicasets.apps", "delete pods", "delete pods"]);
    assert_eq!(writes.last().unwrap(), "update replicasets.apps", "the finalizer goes last");
    let (cluster, _) = deleted(Propagation::Orphan);
    assert_eq!(cluster.names(id::REPLICA_SETS), Vec::<String>::new());
    let pods = cluster.list(id::PODS);
    assert!(pods.len() == 2 && pods.iter().all(|pod| pod["metadata"].get("ownerReferences").is_none()));
}

#[test]
fn an_object_stays_while_one_owner_lives_and_for_owners_of_unknown_kinds() {
    let mut cluster = Cluster::new();
    let alive = cluster.put(set(0));
    let uid = cluster.value(&alive)["metadata"]["uid"].clone();
    let mut two = pod("two", json!({}));
    two["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid },
        { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone", "uid": "gone" },
    ]);
    let two = cluster.put(two);
    let mut strange = pod("strange", json!({}));
    strange["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "w" }]);
    cluster.put(strange);
    cluster.settle(&[&GarbageCollector]);
    assert_eq!(cluster.names(id::PODS), ["strange", "two"]);
    assert_eq!(cluster.value(&two)["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}

#[test]
fn namespaces_are_equipped_and_emptied_before_they_go() {
    let mut cluster = Cluster::new();
    let accounts = ServiceAccounts::new("PEM".into());
    let all: [&dyn Controller; 5] = [&Namespaces, &accounts, &Deployments, &REPLICA_SETS, &GarbageCollector];
    cluster.put(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" }, "spec": { "finalizers": ["kubernetes"] },
    }));
    let mut web = set(1);
    web["metadata"]["namespace"] = "shop".into();
    cluster.put(web);
    cluster.settle(&all);
    assert_eq!(cluster.names(id::SERVICE_ACCOUNTS), ["default"; 5], "in the four of the system and in the new one");
    assert_eq!(cluster.list(id::CONFIG_MAPS)[0]["data"], json!({ "ca.crt": "PEM" }));
    let name = cluster.names(id::PODS)[0].clone();
    let pod = ObjectKey::new(id::PODS, "shop", &name);
    cluster.edit(&pod, |pod| pod["spec"]["nodeName"] = "n1".into());
    let shop = ObjectKey::new(id::NAMESPACES, "", "shop");
    cluster.delete(&shop, None, None);
    cluster.settle(&all);
    let conditions = cluster.value(&shop)["status"]["conditions"].clone();
    assert_eq!(conditions[3]["message"], "Some resources are remaining: pods has 1 resource instances");
    cluster.remove(&pod);
    cluster.settle(&all);
    assert!(cluster.names(id::NAMESPACES).iter().all(|name| name != "shop"));
    assert_eq!(cluster.snapshot.in_namespace("shop").count(), 0);
}

pub(super) fn service(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "default" }, "spec": spec })
}

pub(super) fn backend(name: &str, ip: &str, ready: bool) -> Value {
    let mut body = pod(name, json!({ "app": "web" }));
    body["spec"]["nodeName"] = "n1".into();
    body["spec"]["containers"][0]["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    body["status"] = json!({
        "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
        "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
    });
    body
}

#[test]
fn endpoints_and_slices_follow_the_pods_of_a_service() {
    let mut cluster = Cluster::new();
    let all: [&dyn Controller; 2] = [&EndpointsOfServices, &EndpointSlices];
    let spec =
        json!({ "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": "http", "protocol": "TCP" }] });
    let web = cluster.put(service("web", spec));
    cluster.settle(&all);
    let slices = cluster.list(id::ENDPOINT_SLICES);
    assert_eq!((slices.len(), &slices[0]["endpoints"], &slices[0]["ports"]), (1, &json!([]), &json!([])));
    cluster.put(backend("a", "10.0.0.2", true));
    cluster.put(backend("b", "10.0.0.1", true));
    cluster.put(backend("c", "10.0.0.3", false));
    let mut going = backend("d", "10.0.0.4", true);
    going["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
    cluster.put(going);
    cluster.settle(&all);
    let subsets = cluster.value(&key(id::ENDPOINTS, "web"))["subsets"].clone();
    assert_eq!(subsets.as_array().unwrap().len(), 1);
    assert_eq!(subsets[0]["addresses"][0]["ip"], "10.0.0.1");
    assert_eq!(subsets[0]["addresses"][1]["targetRef"]["name"], "a");
    assert_eq!(subsets[0]["notReadyAddresses"][0]["ip"], "10.0.0.3");
    assert_eq!(subsets[0]["ports"], json!([{ "port": 8080, "protocol": "TCP" }]));
    let slices = cluster.list(id::ENDPOINT_SLICES);
    assert_eq!(slices.len(), 1, "the empty slice is gone");
    assert_eq!(slices[0]["ports"], json!([{ "name": "", "port": 8080, "protocol": "TCP" }]));
    assert_eq!(slices[0]["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    let states: Vec<(Value, Value, Value)> = slices[0]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["conditions"])
        .map(|one| (one["ready"].clone(), one["serving"].clone(), one["terminating"].clone()))
        .collect();
    let state = |ready: bool, serving: bool, terminating: bool| (ready.into(), serving.into(), terminating.into());
    assert_eq!(
        states,
        [state(true, true, false), state(true, true, false), state(false, false, false), state(false, true, true)]
    );
    cluster.remove(&web);
    cluster.settle(&all);
    assert_eq!((cluster.names(id::ENDPOINTS), cluster.names(id::ENDPOINT_SLICES)), (vec![], vec![]));
}

#[test]
fn a_slice_holds_a_hundred_and_one_pod_changes_one_slice() {
    let mut cluster = Cluster::new();
    cluster.put(service("web", json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] })));
    for index in 0..250 {
        cluster.put(backend(&format!("p{index:03}"), &format!("10.0.1.{index}"), true));
    }
    cluster.settle(&[&EndpointSlices]);
    let sizes = |cluster: &Cluster| -> Vec<usize> {
        let mut sizes: Vec<usize> = cluster
            .list(id::ENDPOINT_SLICES)
            .iter()
            .map(|slice| slice["endpoints"].as_array().unwrap().len())
            .collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&cluster), [50, 100, 100]);
    cluster.writes.clear();
    cluster.set_ready(&key(id::PODS, "p007"), false);
    cluster.edit(&key(id::PODS, "p007"), |pod| pod["status"]["podIP"] = "10.0.1.7".into());
    cluster.settle(&[&EndpointSlices]);
    assert_eq!(cluster.writes.len(), 1, "{:?}", cluster.writes);
}

#[test]
fn the_api_is_a_service_with_endpoints() {
    let mut cluster = Cluster::new();
    let api = KubernetesService::new("192.0.2.1".parse().unwrap(), 6443, None);
    cluster.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } }));
    cluster.settle(&[&api]);
    assert_eq!(cluster.value(&key(id::SERVICES, "kubernetes"))["spec"]["ports"][0]["targetPort"], 6443);
    let subsets = cluster.value(&key(id::ENDPOINTS, "kubernetes"))["subsets"].clone();
    assert_eq!(subsets[0]["addresses"][0]["ip"], "192.0.2.1");
}

#[test]
fn a_node_that_is_not_ready_is_tainted_and_loses_its_pods_when_their_patience_ends() {
    let mut cluster = Cluster::new();
    let home = cluster.put(node("n1", "1", "1Gi", 10));
    for (name, tolerations) in [
        ("brief", json!([{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300 }])),
        ("loyal", json!([{ "operator": "Exists" }])),
        ("none", json!([])),
    ] {
        let mut body = backend(name, "10.0.0.1", true);
        body["spec"]["tolerations"] = tolerations;
        cluster.put(body);
    }
    cluster.settle(&[&Nodes, &TaintEviction]);
    assert_eq!(cluster.value(&home)["spec"], Value::Null, "a healthy node is left alone");
    cluster.edit(&home, |node| node["status"]["conditions"][0]["status"] = "False".into());
    let going = |cluster: &Cluster| -> Vec<String> {
        let pods = cluster.list(id::PODS);
        let going = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string());
        going.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    cluster.settle(&[&Nodes, &TaintEviction]);
    let effects: Vec<Value> =
        cluster.value(&home)["spec"]["taints"].as_array().unwrap().iter().map(|one| one["effect"].clone()).collect();
    assert_eq!(effects, ["NoSchedule", "NoExecute"]);
    assert_eq!(going(&cluster), ["none"]);
    cluster.pass(299);
    cluster.settle(&[&Nodes, &TaintEviction]);
    assert_eq!(going(&cluster), ["none"]);
    cluster.pass(1);
    cluster.settle(&[&Nodes, &TaintEviction]);
    assert_eq!(going(&cluster), ["brief", "none"]);
    let condition = &cluster.value(&key(id::PODS, "brief"))["status"]["conditions"][1];
    let said = ["type", "status", "reason", "message"].map(|field| condition[field].as_str().unwrap());
    let why = "Taint manager: deleting due to NoExecute taint";
    assert_eq!(said, ["DisruptionTarget", "True", "DeletionByTaintManager", why]);
    assert!(cluster.events.contains(&"TaintManagerEviction: Marking for deletion Pod default/brief".to_owned()));
    cluster.edit(&home, |node| node["status"]["conditions"][0]["status"] = "True".into());
    cluster.settle(&[&Nodes, &TaintEviction]);
    assert_eq!(cluster.value(&home)["spec"]["taints"], json!([]));
}

#[test]
fn pods_without_a_node_are_cleared_away_after_a_while() {
    let mut cluster = Cluster::new();
    let home = cluster.put(node("n1", "1", "1Gi", 10));
    cluster.put(backend("lost", "10.0.0.1", true));
    let mut early = pod("early", json!({}));
    early["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
    cluster.put(early);
    cluster.settle(&[&PodGc]);
    assert_eq!(cluster.names(id::PODS), ["lost"]);
    cluster.remove(&home);
    cluster.settle(&[&PodGc]);
    cluster.pass(39);
    cluster.settle(&[&PodGc]);
    assert_eq!(cluster.names(id::PODS), ["lost"]);
    cluster.pass(1);
    cluster.settle(&[&PodGc]);
    assert_eq!(cluster.names(id::PODS), Vec::<String>::new());
}

#[test]
fn events_are_deleted_an_hour_after_they_were_last_seen() {
    let mut cluster = Cluster::new();
    let event = |name: &str, last: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": "default" },
            "involvedObject": {}, "lastTimestamp": last,
        })
    };
    cluster.put(event("old", "2026-11-19T23:30:00Z"));
    let seen = cluster.now.rfc3339();
    cluster.put(event("new", &seen));
    cluster.settle(&[&EventTtl]);
    for (wait, left) in [(3599, 1), (1, 0)] {
        cluster.pass(wait);
        cluster.settle(&[&EventTtl]);
        // The last of them may wait for its group.
        assert!(cluster.names(id::EVENTS).len() >= left);
    }
    cluster.pass(30);
    cluster.settle(&[&EventTtl]);
    assert_eq!(cluster.names(id::EVENTS), Vec::<String>::new());
}

#[test]
fn deleting_twice_is_not_asked_for() {
    let mut cluster = Cluster::new();
    let set = cluster.put(set(1));
    cluster.settle(&[&REPLICA_SETS]);
    let pod = key(id::PODS, &cluster.names(id::PODS)[0]);
    cluster.edit(&pod, |pod| pod["spec"]["nodeName"] = "n1".into());
    cluster.remove(&set);
    cluster.writes.clear();
    cluster.settle(&[&GarbageCollector, &REPLICA_SETS]);
    cluster.apply(Command::Patch {
        key: pod.clone(),
        subresource: Some("status"),
        body: json!({ "status": { "phase": "Running" } }),
    });
    cluster.settle(&[&GarbageCollector, &REPLICA_SETS]);
    assert_eq!(cluster.writes.iter().filter(|write| write.starts_with("delete")).count(), 1);
}
