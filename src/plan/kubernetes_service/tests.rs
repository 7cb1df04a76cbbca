//! What is behind the API's service as nodes come, go and are suspected.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::KubernetesService;
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::registration::API_PORT;
use crate::plan::tests::{Cluster, node};

fn of_node(name: &str, ip: &str, port: u16, ready: bool) -> Value {
    let mut body = node(name, "1", "1Gi", 10);
    body["metadata"]["annotations"] = json!({ API_PORT: port.to_string() });
    body["status"]["addresses"] = json!([{ "type": "InternalIP", "address": ip }]);
    body["status"]["conditions"] = json!([{ "type": "Ready", "status": if ready { "True" } else { "Unknown" } }]);
    body
}

struct Bench {
    cluster: Cluster,
    api: KubernetesService,
}

impl Bench {
    fn new() -> Self {
        let mut cluster = Cluster::new();
        cluster.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } }));
        Self { cluster, api: KubernetesService::new("192.0.2.1".parse().unwrap(), 6443, None) }
    }

    /// What is behind the service now: `port: addresses` of Endpoints, which slices must say as well.
    fn check(&mut self, expect: &str) {
        self.cluster.settle(&[&self.api]);
        let list = |value: &Value, at: &str, pointer: &str| -> Vec<String> {
            let items = value[at].as_array().unwrap().iter();
            items.map(|one| one.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
        };
        let key = ObjectKey::new(id::ENDPOINTS, "default", "kubernetes");
        let endpoints = self.cluster.value(&key)["subsets"].clone();
        let said = |port: &Value, addresses: Vec<String>| format!("{port}: {}", addresses.join(" "));
        let subsets = endpoints.as_array().unwrap().iter();
        let subsets: Vec<String> =
            subsets.map(|one| said(&one["ports"][0]["port"], list(one, "addresses", "/ip"))).collect();
        let slices = self.cluster.list(id::ENDPOINT_SLICES);
        let slices: Vec<String> =
            slices.iter().map(|one| said(&one["ports"][0]["port"], list(one, "endpoints", "/addresses/0"))).collect();
        assert_eq!(subsets.join(", "), expect);
        assert_eq!(subsets.iter().collect::<BTreeSet<_>>(), slices.iter().collect::<BTreeSet<_>>());
    }
}

#[test]
fn every_live_node_is_behind_the_service_in_a_stable_order() {
    let mut bench = Bench::new();
    bench.check("6443: 192.0.2.1");
    bench.cluster.put(of_node("b", "192.0.2.3", 6443, true));
    bench.cluster.put(of_node("c", "192.0.2.2", 6443, true));
    bench.check("6443: 192.0.2.2 192.0.2.3");
    bench.cluster.writes.clear();
    bench.cluster.put(of_node("b", "192.0.2.3", 6443, true));
    bench.check("6443: 192.0.2.2 192.0.2.3");
    assert_eq!(bench.cluster.writes, Vec::<String>::new(), "nothing is written where nothing changed");
    bench.cluster.put(of_node("c", "192.0.2.2", 6443, false));
    bench.check("6443: 192.0.2.3");
    bench.cluster.put(of_node("b", "192.0.2.3", 6443, false));
    bench.check("6443: 192.0.2.3");
}

#[test]
fn nodes_with_other_ports_have_slices_of_their_own_while_they_live() {
    let mut bench = Bench::new();
    bench.cluster.put(of_node("a", "192.0.2.1", 7443, true));
    bench.cluster.put(of_node("b", "192.0.2.2", 6443, true));
    bench.check("6443: 192.0.2.2, 7443: 192.0.2.1");
    assert_eq!(bench.cluster.names(id::ENDPOINT_SLICES), ["kubernetes", "kubernetes-v4-7443"]);
    bench.cluster.put(of_node("b", "192.0.2.2", 6443, false));
    bench.check("7443: 192.0.2.1");
    assert_eq!(bench.cluster.names(id::ENDPOINT_SLICES), ["kubernetes"]);
}

#[test]
fn the_api_of_a_suspected_node_is_not_offered_until_the_suspicion_is_refuted() {
    let mut bench = Bench::new();
    bench.cluster.put(of_node("a", "192.0.2.1", 6443, true));
    bench.cluster.put(of_node("b", "192.0.2.2", 6443, true));
    bench.check("6443: 192.0.2.1 192.0.2.2");
    for (doubted, expect) in [(vec!["a".to_owned()], "6443: 192.0.2.2"), (vec![], "6443: 192.0.2.1 192.0.2.2")] {
        bench.cluster.doubt(doubted);
        bench.check(expect);
    }
    let of_nodes = bench.cluster.writes.iter().filter(|write| write.contains(" nodes")).count();
    assert_eq!(of_nodes, 0, "{:?}", bench.cluster.writes);
}
