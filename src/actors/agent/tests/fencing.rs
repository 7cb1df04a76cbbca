//! Pods that must not run twice, on a node whose quorum falls silent.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Bench, key, pod};
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::fencing::{AT_MOST_ONE, UNREACHABLE};

/// Decided on after 1.5 s, replaced after 5 s more, and stopped 2 s before that: whole seconds of 4.5 s.
const STOPS_AFTER: u64 = 4;

fn single(name: &str) -> Value {
    let tolerations =
        json!([{ "key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 }]);
    let mut body = pod(name, json!({}), json!({ "tolerations": tolerations }));
    body["metadata"]["annotations"] = json!({ AT_MOST_ONE: "true" });
    body
}

impl Bench {
    fn cut_off(&self, cut_off: bool) {
        self.api.cut_off.store(cut_off, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn such_a_pod_is_stopped_in_time_and_runs_again_when_the_quorum_is_back() {
    let mut bench = Bench::start().await;
    bench.api.put(key("db"), single("db"));
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(5).await;
    assert_eq!(bench.running(), 2);
    bench.cut_off(true);
    bench.pass(STOPS_AFTER - 1).await;
    assert_eq!(bench.running(), 2);
    // Up to a second for the last question that was answered and for the end itself.
    bench.pass(2).await;
    assert_eq!(bench.running(), 1, "the other goes on");
    bench.pass(600).await;
    assert_eq!(bench.running(), 1);
    bench.cut_off(false);
    bench.pass(2).await;
    assert_eq!(bench.line("db"), "Running ready=True restarts=1 running");
    assert_eq!(bench.line("web"), "Running ready=True restarts=0 running");
    let events = bench.api.events();
    let stopped = "db Killing: Stopping container main: the node has lost the quorum";
    assert!(events.iter().any(|event| event == stopped), "{events:?}");
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn where_the_nodes_process_dies_the_runtime_ends_such_a_pod_in_time() {
    let mut bench = Bench::start().await;
    bench.api.put(key("db"), single("db"));
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(600).await;
    assert_eq!(bench.running(), 2, "its end was put off all the while");
    bench.halt().await;
    bench.pass(STOPS_AFTER - 1).await;
    assert_eq!(bench.running(), 2);
    bench.pass(3).await;
    assert_eq!(bench.running(), 1, "the other goes on");
    bench.boot().await;
    bench.pass(5).await;
    assert_eq!(bench.line("db"), "Running ready=True restarts=1 running");
    // One that may run twice from now on is held no more.
    let mut free = single("db");
    free["metadata"]["annotations"] = json!({});
    bench.api.put(key("db"), free);
    bench.pass(5).await;
    bench.halt().await;
    bench.pass(600).await;
    assert_eq!(bench.running(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_ignores_its_end_is_killed_whatever_grace_it_asks_for() {
    let mut bench = Bench::start().await;
    let mut deaf = single("deaf");
    deaf["spec"]["containers"][0]["env"] = json!([{ "name": "HOLLOW_TERM_MS", "value": "never" }]);
    bench.api.put(key("deaf"), deaf);
    bench.pass(5).await;
    bench.cut_off(true);
    bench.pass(STOPS_AFTER + 2).await;
    assert_eq!(bench.running(), 0);
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_without_a_quorum_starts_no_such_pod_and_soon_stops_what_it_found() {
    let mut bench = Bench::start().await;
    bench.api.put(key("db"), single("db"));
    bench.pass(5).await;
    bench.halt().await;
    bench.cut_off(true);
    bench.api.put(key("new"), single("new"));
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.boot().await;
    assert_eq!(bench.running(), 2, "the one that ran and the one that may run twice");
    bench.pass(3).await;
    assert_eq!(bench.running(), 1);
    bench.cut_off(false);
    bench.pass(3).await;
    assert_eq!(bench.running(), 3);
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_a_quorum_leaves_such_a_pod_alone() {
    let mut bench = Bench::start().await;
    bench.api.put(key("db"), single("db"));
    bench.pass(5).await;
    bench.halt().await;
    let before = bench.machine.containers();
    bench.boot().await;
    bench.pass(60).await;
    assert_eq!(bench.machine.containers(), before);
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn answers_do_not_count_while_the_node_is_declared_dead() {
    let mut bench = Bench::start().await;
    bench.api.put(key("db"), single("db"));
    bench.pass(5).await;
    let node = ObjectKey::new(id::NODES, "", "n1");
    let mut body = bench.api.value(&node).unwrap();
    body["spec"]["taints"] = json!([{ "key": UNREACHABLE, "effect": "NoExecute" }]);
    bench.api.put(node.clone(), body);
    bench.pass(STOPS_AFTER + 2).await;
    assert_eq!(bench.running(), 0);
    let mut body = bench.api.value(&node).unwrap();
    body["spec"]["taints"] = json!([]);
    bench.api.put(node, body);
    bench.pass(2).await;
    assert_eq!(bench.running(), 1);
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_no_pod_wants_to_know() {
    let mut bench = Bench::start().await;
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(60).await;
    assert_eq!(bench.api.questions(), 0);
    bench.api.put(key("db"), single("db"));
    bench.pass(10).await;
    let asked = bench.api.questions();
    assert!((30..=45).contains(&asked), "four a second: {asked}");
    bench.api.delete(&key("db"), 1);
    bench.pass(5).await;
    let asked = bench.api.questions();
    bench.pass(60).await;
    assert_eq!(bench.api.questions(), asked);
    bench.halt().await;
}
