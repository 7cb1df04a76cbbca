//! Nodes that are suspected and die: what is offered of them, who leaves them, who is replaced when.

use serde_json::{Value, json};

use super::keeping::{backend, key, service, set};
use super::{Cluster, node, pod};
use crate::kube::resource::id;
use crate::plan::Controller;
use crate::plan::endpoints::EndpointsOfServices;
use crate::plan::endpointslice::EndpointSlices;
use crate::plan::node::Nodes;
use crate::plan::replicaset::REPLICA_SETS;
use crate::plan::taint_eviction::TaintEviction;

/// The conditions of each endpoint in slices, `ready serving terminating`, and what Endpoints has not ready.
fn offered(cluster: &Cluster) -> (Vec<String>, usize) {
    let slices = cluster.list(id::ENDPOINT_SLICES);
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().unwrap());
    let said = endpoints.map(|one| {
        let [ready, serving] =
            ["ready", "serving"].map(|name| if one["conditions"][name] == true { name } else { "-" });
        format!("{} {ready} {serving}", one["nodeName"].as_str().unwrap())
    });
    let subsets = cluster.value(&key(id::ENDPOINTS, "web"))["subsets"].clone();
    (said.collect(), subsets[0]["notReadyAddresses"].as_array().map_or(0, Vec::len))
}

#[test]
fn pods_of_a_suspected_node_are_not_offered_until_the_suspicion_is_refuted() {
    let mut cluster = Cluster::new();
    let all: [&dyn Controller; 3] = [&EndpointsOfServices, &EndpointSlices, &Nodes];
    cluster.put(node("n1", "1", "1Gi", 10));
    cluster.put(node("n2", "1", "1Gi", 10));
    let spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80, "protocol": "TCP" }] });
    cluster.put(service("web", spec));
    cluster.put(backend("a", "10.0.0.1", true));
    let mut b = backend("b", "10.0.0.2", true);
    b["spec"]["nodeName"] = "n2".into();
    cluster.put(b);
    cluster.settle(&all);
    let whole = (vec!["n1 ready serving".to_owned(), "n2 ready serving".to_owned()], 0);
    assert_eq!(offered(&cluster), whole);
    cluster.writes.clear();
    cluster.doubt(vec!["n2".into()]);
    cluster.settle(&all);
    assert_eq!(offered(&cluster), (vec!["n1 ready serving".to_owned(), "n2 - -".to_owned()], 1));
    cluster.doubt(vec![]);
    cluster.settle(&all);
    assert_eq!(offered(&cluster), whole);
    assert_eq!(cluster.writes.len(), 4, "two writes each way, none of pods and nodes: {:?}", cluster.writes);
    cluster.doubt(vec!["n1".into(), "n2".into()]);
    assert!(cluster.snapshot.doubted("n1") && !cluster.snapshot.doubted("n3"));
}

/// A set of one pod on a node that is declared dead, a minute later comes back, and what its pods are by then:
/// `name-of-node phase`, terminating ones in brackets.
fn dies(annotations: &Value) -> Vec<String> {
    let mut cluster = Cluster::new();
    let all: [&dyn Controller; 3] = [&REPLICA_SETS, &Nodes, &TaintEviction];
    let home = cluster.put(node("n1", "1", "1Gi", 10));
    let mut one = set(1);
    one["spec"]["template"]["metadata"]["annotations"] = annotations.clone();
    one["spec"]["template"]["spec"]["tolerations"] = json!([{
        "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10,
    }]);
    cluster.put(one);
    cluster.settle(&all);
    let pod = key(id::PODS, &cluster.names(id::PODS)[0]);
    cluster.edit(&pod, |pod| pod["spec"]["nodeName"] = "n1".into());
    let mut trace = Vec::new();
    let mut look = |cluster: &mut Cluster, what: &str| {
        cluster.settle(&all);
        let pods = cluster.list(id::PODS);
        let going = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string()).count();
        trace.push(format!("{what}: {} and {going} going", pods.len() - going));
    };
    look(&mut cluster, "lives");
    cluster.delete(&pod, None, None);
    look(&mut cluster, "deleted");
    cluster.edit(&home, |node| node["status"]["conditions"][0]["status"] = "Unknown".into());
    look(&mut cluster, "declared");
    cluster.pass(9);
    look(&mut cluster, "9 s");
    cluster.pass(1);
    look(&mut cluster, "10 s");
    trace
}

#[test]
fn a_pod_that_is_going_is_replaced_at_once_unless_it_must_not_run_twice() {
    let twice = ["lives: 1 and 0 going", "deleted: 1 and 1 going", "declared: 1 and 1 going", "9 s: 1 and 1 going"];
    assert_eq!(dies(&json!({}))[..4], twice);
    let once = ["lives: 1 and 0 going", "deleted: 0 and 1 going", "declared: 0 and 1 going", "9 s: 0 and 1 going"];
    let trace = dies(&json!({ "shoal.dev/at-most-one": "true" }));
    assert_eq!((&trace[..4], trace[4].as_str()), (&once.map(str::to_owned)[..], "10 s: 1 and 1 going"));
}

#[test]
fn pods_of_a_dead_node_are_replaced_when_their_patience_ends() {
    let mut cluster = Cluster::new();
    let all: [&dyn Controller; 3] = [&REPLICA_SETS, &Nodes, &TaintEviction];
    let home = cluster.put(node("n1", "1", "1Gi", 10));
    cluster.put(set(3));
    cluster.settle(&all);
    for (name, seconds) in cluster.names(id::PODS).into_iter().zip([0, 5, 600]) {
        cluster.edit(&key(id::PODS, &name), |pod| {
            pod["spec"]["nodeName"] = "n1".into();
            pod["spec"]["tolerations"] = json!([{
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": seconds,
            }]);
        });
    }
    let mut daemon = pod("daemon", json!({}));
    daemon["spec"]["nodeName"] = "n1".into();
    daemon["spec"]["tolerations"] = json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists" }]);
    cluster.put(daemon);
    cluster.edit(&home, |node| node["status"]["conditions"][0]["status"] = "Unknown".into());
    // (after so many seconds more, pods that there are in all, of them going)
    for (wait, pods, going) in [(0, 5, 1), (4, 5, 1), (1, 6, 2), (594, 6, 2), (1, 7, 3)] {
        cluster.pass(wait);
        cluster.settle(&all);
        let all_pods = cluster.list(id::PODS);
        let gone = all_pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string()).count();
        assert_eq!((all_pods.len(), gone), (pods, going), "{wait} s later");
    }
    let daemon = cluster.value(&key(id::PODS, "daemon"));
    assert!(daemon["metadata"].get("deletionTimestamp").is_none(), "one that tolerates it for good stays");
    cluster.edit(&home, |node| node["status"]["conditions"][0]["status"] = "True".into());
    cluster.settle(&all);
    assert_eq!(cluster.value(&home)["spec"]["taints"], json!([]), "who is back loses the taints at once");
}
