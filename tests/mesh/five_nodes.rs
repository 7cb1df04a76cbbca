//! Five nodes that joined through one another: no seed is special, and one that died is not missed.

use super::harness::{Machine, PATIENCE, Segment, wait_until};

#[test]
#[allow(clippy::many_single_char_names, reason = "they are the nodes' names")]
fn nodes_join_through_any_member_and_need_no_seed_afterwards() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let mut b = Machine::joined(&segment, "b", "hollow", &a, &token);
    let c = Machine::joined(&segment, "c", "hollow", &b, &token);
    b.kill_9();
    let mut d = Machine::joined(&segment, "d", "hollow", &c, &token);
    let e = the_first_seed_that_answers_is_enough(&segment, &b, &a, &token);
    let wanted = [("a", "alive"), ("b", "dead"), ("c", "alive"), ("d", "alive"), ("e", "alive")];
    for api in [&a, &c, &d, &e] {
        wait_until("everybody sees the same", PATIENCE, || api.sees(&wanted));
        wait_until("every node is an object", PATIENCE, || {
            super::harness::same(api.nodes()?, ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec())?;
            api.sees_ready("b", false)
        });
    }
    // Two of the first three voters may be gone at once: not before another votes instead of the first.
    wait_until("another votes instead of b", PATIENCE, || {
        if a.voters()?.contains("b") { Err("b still votes".to_owned()) } else { Ok(()) }
    });
    comes_back_without_its_seed(&a, c, &mut d);
}

fn the_first_seed_that_answers_is_enough(segment: &Segment, dead: &Machine, live: &Machine, token: &str) -> Machine {
    let mut machine = Machine::new(segment, "e", "hollow");
    machine.join(live, token);
    machine.kill_9();
    // Killed at its first moment or a later one: joining again is safe either way.
    machine.up(&["--join", &format!("{},{}", dead.at(), live.at()), "--token", token]);
    machine.wait_ready();
    machine
}

fn comes_back_without_its_seed(a: &Machine, mut c: Machine, d: &mut Machine) {
    c.kill_9();
    wait_until("others vote instead of the dead", PATIENCE, || {
        super::harness::same(a.voters()?, ["a", "d", "e"].map(str::to_owned).into())
    });
    d.kill_9();
    d.up(&[]);
    d.wait_ready();
    wait_until("it is back", PATIENCE, || a.sees_ready("d", true));
    wait_until("and tells who is there", PATIENCE, || {
        d.sees(&[("a", "alive"), ("b", "dead"), ("c", "dead"), ("d", "alive"), ("e", "alive")])
    });
}
