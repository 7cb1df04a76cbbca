//! Voters that die under load, one after another and all at once: nothing that was acknowledged is lost, watches go on
//! across nodes, pods run on, and what moved goes on where it is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::harness::clients::Clients;
use super::harness::{Machine, PATIENCE, Segment, same, wait_until};
use super::quorum::{available, works};
use crate::cluster::node::web;

#[test]
fn each_voter_and_then_all_of_them_die_under_load_and_nothing_acknowledged_is_lost() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "embedded");
    let token = a.token(&[]);
    let [b, c] = ["b", "c"].map(|name| Machine::joined(&segment, name, "embedded", &a, &token));
    let mut machines = [a, b, c];
    let all = ["a", "b", "c"].map(str::to_owned);
    wait_until("three vote", PATIENCE, || same(machines[2].voters()?, all.clone().into()));
    machines[0].apply(&web("web", 3, "served"));
    wait_until("pods run", PATIENCE, || available(&machines[1], "web", 3));
    let running = containers(&machines[0]).expect("pods");

    let clients = Clients::start(&machines.each_ref());
    for victim in 0..3 {
        machines[victim].kill_9();
        clients.wait_progress();
        machines[victim].up(&[]);
        machines[victim].wait_ready();
        clients.wait_progress();
    }
    for machine in &mut machines {
        machine.kill_9();
    }
    for machine in &mut machines {
        machine.up(&[]);
    }
    for machine in &mut machines {
        machine.wait_ready();
        wait_until("three vote again", PATIENCE, || same(machine.voters()?, all.clone().into()));
    }
    clients.wait_progress();
    wait_until("control actors work", PATIENCE, || works(&machines[1]));
    machines[2].kubectl(&["scale", "deployment", "web", "--replicas=4"]);
    wait_until("what they decide happens", PATIENCE, || available(&machines[0], "web", 4));
    let now = containers(&machines[0]).expect("pods");
    assert!(running.iter().all(|one| now.get(one.0) == Some(one.1)), "{running:?}, then {now:?}");
    clients.judge();
}

/// Container and restarts of every pod.
fn containers(api: &Machine) -> Result<BTreeMap<String, (String, u64)>, String> {
    let list = api.try_kubectl(&["get", "pods", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
    let one = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        let id = status["containerID"].as_str().ok_or_else(|| format!("not running: {pod}"))?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        Ok((name.to_owned(), (id.to_owned(), status["restartCount"].as_u64().unwrap_or_default())))
    };
    list["items"].as_array().ok_or("no list")?.iter().map(one).collect()
}
