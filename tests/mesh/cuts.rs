//! Links that fail between nodes which others still reach: nobody is declared dead.

use std::time::Duration;

use super::harness::{Machine, PATIENCE, Segment, holds, same, wait_until};

/// How long a cut lasts: well beyond suspicion and its timeouts.
const LASTS: Duration = Duration::from_secs(15);

#[test]
fn a_cut_between_two_nodes_kills_neither() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let b = Machine::joined(&segment, "b", "hollow", &a, &token);
    let c = Machine::joined(&segment, "c", "hollow", &a, &token);
    everybody_lives(&a, &b, &c);

    b.cut_from(&c);
    holds("with a cut in both directions", LASTS, || nobody_is_dead(&a, &b, &c));
    b.heal();
    c.heal();
    everybody_lives(&a, &b, &c);

    c.lose_from(&b);
    holds("with a cut in one direction", LASTS, || nobody_is_dead(&a, &b, &c));
    c.heal();
    everybody_lives(&a, &b, &c);
}

#[test]
fn a_pod_behind_a_cut_is_reached_through_a_third_node() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "embedded");
    let token = a.token(&[]);
    let b = Machine::joined(&segment, "b", "embedded", &a, &token);
    let c = Machine::joined(&segment, "c", "embedded", &a, &token);
    everybody_lives(&a, &b, &c);

    a.cut_from(&b);
    a_pod_starts_and_answers(&a, &b, "both-ways");
    a.heal();
    b.heal();
    everybody_lives(&a, &b, &c);
    b.lose_from(&a);
    a_pod_starts_and_answers(&a, &b, "one-way");
    b.heal();
    everybody_lives(&a, &b, &c);
    answers(&a, "both-ways");
    answers(&a, "one-way");
}

/// A pod that is made while its node is cut from the API: its object gets there, its status, log and programs back.
fn a_pod_starts_and_answers(api: &Machine, node: &Machine, name: &str) {
    api.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {}\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - {{name: main, image: \"shoal.local/toolbox:latest\", imagePullPolicy: IfNotPresent, args: [http-echo]}}\n",
        node.name
    ));
    answers(api, name);
}

fn answers(api: &Machine, name: &str) {
    wait_until("the log is served", PATIENCE, || {
        let log = api.try_kubectl(&["logs", name])?;
        if log.contains("listening") { Ok(()) } else { Err(log) }
    });
    wait_until("programs run", PATIENCE, || same(api.try_kubectl(&["exec", name, "--", "hostname"])?.trim(), name));
}

fn everybody_lives(a: &Machine, b: &Machine, c: &Machine) {
    for api in [a, b, c] {
        wait_until("three members are alive", PATIENCE, || api.sees(&[("a", "alive"), ("b", "alive"), ("c", "alive")]));
    }
}

fn nobody_is_dead(a: &Machine, b: &Machine, c: &Machine) -> Result<(), String> {
    for api in [a, b, c] {
        let members = api.members()?;
        if members.len() != 3 || members.values().any(|state| state == "dead") {
            return Err(format!("{} sees {members:?}", api.name));
        }
    }
    ["b", "c"].into_iter().try_for_each(|node| a.sees_ready(node, true))
}
