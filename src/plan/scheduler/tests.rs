//! Tables of placements.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Scheduler;
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::tests::{Cluster, node, pod};

fn asking(name: &str, spec: Value) -> Value {
    let mut body = pod(name, json!({ "app": "web" }));
    json_patch::merge(&mut body["spec"], &spec);
    body
}

fn requests(cpu: &str, memory: &str) -> Value {
    json!({ "containers": [{ "name": "main", "image": "a", "resources": { "requests": { "cpu": cpu, "memory": memory } } }] })
}

/// Where each pod went; `-` for nowhere.
fn placed(cluster: &Cluster) -> BTreeMap<String, String> {
    let pods = cluster.list(id::PODS);
    let at = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or("-").to_owned();
    pods.iter().map(|pod| (pod["metadata"]["name"].as_str().unwrap().to_owned(), at(pod))).collect()
}

/// Schedules one pod on the given nodes; the node, or the whole message of the refusal.
fn check(nodes: &[Value], spec: Value, expect: &str) {
    let mut cluster = Cluster::new();
    for node in nodes {
        cluster.put(node.clone());
    }
    let key = cluster.put(asking("p", spec.clone()));
    cluster.settle(&[&Scheduler]);
    let body = cluster.value(&key);
    let condition = &body["status"]["conditions"][0];
    let got = body["spec"]["nodeName"].as_str().or(condition["message"].as_str()).unwrap_or_default();
    assert_eq!(got, expect, "{spec}");
    if condition.is_object() {
        assert_eq!((&condition["type"], &condition["reason"]), (&json!("PodScheduled"), &json!("Unschedulable")));
        assert_eq!(cluster.events, [format!("FailedScheduling: {expect}")]);
    }
}

fn with(mut node: Value, patch: Value) -> Value {
    json_patch::merge(&mut node, &patch);
    node
}

#[test]
fn a_refusal_counts_the_nodes_by_reason() {
    let small = node("a", "1", "1Gi", 10);
    let tainted = with(
        node("b", "8", "8Gi", 10),
        json!({ "spec": { "taints": [{ "key": "gpu", "value": "yes", "effect": "NoSchedule" }] } }),
    );
    let closed = with(node("c", "8", "8Gi", 10), json!({ "spec": { "unschedulable": true } }));
    check(
        &[small.clone(), tainted, closed],
        requests("2", "2Gi"),
        "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint {gpu: yes}, \
         1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    );
    check(
        &[small],
        json!({ "nodeSelector": { "disk": "ssd" } }),
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are \
         available: 1 Preemption is not helpful for scheduling.",
    );
    check(&[], json!({}), "no nodes available to schedule pods");
    check(
        &[node("full", "1", "1Gi", 0)],
        json!({}),
        "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims found \
         for incoming pod.",
    );
}

#[test]
fn selectors_taints_and_affinity_choose_the_node() {
    let plain = node("plain", "4", "4Gi", 10);
    let ssd = with(node("ssd", "4", "4Gi", 10), json!({ "metadata": { "labels": { "disk": "ssd", "gen": "7" } } }));
    let tainted = with(
        node("tainted", "4", "4Gi", 10),
        json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoExecute" }] } }),
    );
    check(&[plain.clone(), ssd.clone()], json!({ "nodeSelector": { "disk": "ssd" } }), "ssd");
    let term = |expression: Value| {
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [expression] }] } } } })
    };
    check(&[plain.clone(), ssd.clone()], term(json!({ "key": "gen", "operator": "Gt", "values": ["6"] })), "ssd");
    check(
        &[plain.clone(), ssd.clone()],
        term(json!({ "key": "disk", "operator": "NotIn", "values": ["ssd"] })),
        "plain",
    );
    check(&[plain.clone(), ssd.clone()], term(json!({ "key": "disk", "operator": "DoesNotExist" })), "plain");
    let preferred = json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 50, "preference": { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] } }] } } });
    check(&[plain.clone(), ssd], preferred, "ssd");
    check(&[tainted.clone(), plain], json!({}), "plain");
    check(&[tainted], json!({ "tolerations": [{ "key": "k", "operator": "Equal", "value": "v" }] }), "tainted");
}

#[test]
fn init_containers_count_by_their_largest_and_sidecars_stay() {
    let container = |cpu: &str, extra: Value| {
        let mut body = json!({ "name": "i", "image": "a", "resources": { "requests": { "cpu": cpu } } });
        json_patch::merge(&mut body, &extra);
        body
    };
    let node = node("n", "1", "1Gi", 10);
    let spec = |main: &str, init: Value| json!({ "containers": [container(main, json!({}))], "initContainers": init });
    check(&[node.clone()], spec("500m", json!([container("1", json!({})), container("900m", json!({}))])), "n");
    let refusal = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not \
                   helpful for scheduling.";
    check(&[node.clone()], spec("500m", json!([container("1100m", json!({}))])), refusal);
    check(&[node.clone()], spec("500m", json!([container("600m", json!({ "restartPolicy": "Always" }))])), refusal);
    let mut heavy = spec("500m", json!([]));
    heavy["overhead"] = json!({ "cpu": "501m" });
    check(&[node], heavy, refusal);
}

#[test]
fn a_batch_never_gives_the_same_room_away_twice() {
    let mut cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        cluster.put(node(name, "1", "4Gi", 100));
    }
    for index in 0..10 {
        cluster.put(asking(&format!("p{index}"), requests("400m", "1Mi")));
    }
    cluster.settle(&[&Scheduler]);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    placed(&cluster).into_values().for_each(|node| *counts.entry(node).or_default() += 1);
    let expect = [("-", 4), ("a", 2), ("b", 2), ("c", 2)].map(|(node, count)| (node.to_owned(), count));
    assert_eq!(counts, BTreeMap::from(expect));
}

#[test]
fn pods_spread_over_nodes_and_host_ports_do_not_clash() {
    let mut cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        cluster.put(node(name, "4", "4Gi", 100));
    }
    for index in 0..4 {
        let port = json!({ "containers": [{ "name": "m", "image": "a", "ports": [{ "containerPort": 80, "hostPort": 80 }] }] });
        cluster.put(asking(&format!("p{index}"), port));
    }
    cluster.settle(&[&Scheduler]);
    let mut at: Vec<String> = placed(&cluster).into_values().collect();
    at.sort();
    assert_eq!(at, ["-", "a", "b", "c"]);
    assert!(cluster.events.last().unwrap().contains("3 node(s) didn't have free ports for the requested pod ports."));
}

#[test]
fn a_waiting_pod_is_told_once_and_placed_when_room_appears() {
    let mut cluster = Cluster::new();
    cluster.put(node("a", "1", "4Gi", 100));
    cluster.put(asking("first", requests("1", "1Mi")));
    cluster.settle(&[&Scheduler]);
    cluster.put(asking("second", requests("1", "1Mi")));
    cluster.settle(&[&Scheduler]);
    cluster.pass(600);
    cluster.settle(&[&Scheduler]);
    assert_eq!(cluster.events.iter().filter(|event| event.starts_with("FailedScheduling")).count(), 1);
    cluster.remove(&ObjectKey::new(id::PODS, "default", "first"));
    cluster.settle(&[&Scheduler]);
    assert_eq!(placed(&cluster), BTreeMap::from([("second".to_owned(), "a".to_owned())]));
    assert_eq!(cluster.events.last().unwrap(), "Scheduled: Successfully assigned default/second to a");
}

#[test]
fn pods_of_other_schedulers_and_gated_pods_are_left_alone() {
    let mut cluster = Cluster::new();
    cluster.put(node("a", "1", "4Gi", 100));
    cluster.put(asking("other", json!({ "schedulerName": "mine" })));
    cluster.put(asking("gated", json!({ "schedulingGates": [{ "name": "wait" }] })));
    cluster.settle(&[&Scheduler]);
    assert_eq!(cluster.writes, Vec::<String>::new());
}
