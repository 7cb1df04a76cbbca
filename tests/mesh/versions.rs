//! Two releases in one cluster: what one node speaks beside the others' version does no harm, and one that speaks nothing
//! that the others do is refused and says why. Which versions a process speaks, builds for tests can be told.

use serde_json::Value;

use super::harness::clients::Clients;
use super::harness::{Machine, PATIENCE, Segment, same, wait_until};
use super::quorum::works;

#[test]
fn a_newer_release_works_with_the_others_and_one_that_nobody_understands_is_refused() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let mut b = Machine::new(&segment, "b", "hollow");
    b.speak("1-2");
    b.join(&a, &token);
    b.wait_ready();
    let c = Machine::joined(&segment, "c", "hollow", &a, &token);
    let mut machines = [a, b, c];
    let all = ["a", "b", "c"].map(str::to_owned);
    let whole = |api: &Machine| same(api.voters()?, all.clone().into());
    wait_until("three vote", PATIENCE, || whole(&machines[2]));
    wait_until("the newer one is told apart", PATIENCE, || same(spoken(&machines[0])?, vec![1, 2, 1]));
    let clients = Clients::start(&machines.each_ref());

    let mut stranger = Machine::new(&segment, "stranger", "hollow");
    stranger.speak("3");
    let [a, b, c] = machines.each_mut();
    let said = stranger.refused(&["--join", &a.at(), "--token", &token], PATIENCE);
    assert!(said.contains("speak version 1 of the mesh, and this node does not"), "{said}");
    assert_eq!(a.nodes().expect("a list"), all);
    assert_eq!(a.quorum().expect("an answer")["replicas"].as_array().map_or(0, Vec::len), 3);

    // A member that is upgraded too far.
    c.kill_9();
    c.speak("3");
    c.up(&[]);
    wait_until("it says why it is alone", PATIENCE, || {
        if c.log().contains("speaks no version of the mesh that this node does (3)") { Ok(()) } else { Err(c.log()) }
    });
    wait_until("the others take it for dead", PATIENCE, || {
        a.sees(&[("a", "alive"), ("b", "alive"), ("c", "dead")])?;
        b.sees_ready("c", false)
    });
    clients.wait_progress();
    wait_until("control actors work", PATIENCE, || works(b));

    // Step by step: every release understands its neighbours.
    for (machine, speaks) in [(c, "1-2"), (a, "2"), (b, "2-3")] {
        machine.kill_9_if_it_runs();
        machine.speak(speaks);
        machine.up(&[]);
        machine.wait_ready();
        clients.wait_progress();
    }
    let [a, b, c] = &machines;
    for api in [a, b, c] {
        wait_until("all are there again", PATIENCE, || {
            api.sees(&[("a", "alive"), ("b", "alive"), ("c", "alive")])?;
            same(spoken(api)?, vec![2, 3, 2])?;
            whole(api)
        });
    }
    clients.judge();
}

/// The newest version that each member speaks, by name.
fn spoken(api: &Machine) -> Result<Vec<u64>, String> {
    let told = api.try_shoal(&["members", "-o", "json"])?;
    let members: Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    let mut found: Vec<(&str, u64)> = members["items"]
        .as_array()
        .ok_or("no items")?
        .iter()
        .filter_map(|member| Some((member["name"].as_str()?, member["protocol"].as_u64()?)))
        .collect();
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, newest)| newest).collect())
}
