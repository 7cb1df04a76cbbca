//! Links that fail between nodes which others still reach: nobody is declared dead.

use std::time::Duration;

use super::harness::{Machine, PATIENCE, Segment, holds, wait_until};

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
