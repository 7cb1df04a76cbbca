//! Two of three voters gone: what the last one still answers, and a cluster rebuilt from it in one command.

use std::time::Duration;

use super::harness::{Machine, PATIENCE, Segment, wait_until};

const VOTERS: &str = r#""standing": "voter""#;

#[test]
fn the_last_of_three_voters_answers_refuses_and_is_recovered_and_the_others_come_back() {
    let segment = Segment::new();
    let mut a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let mut b = Machine::joined(&segment, "b", "hollow", &a, &token);
    let c = Machine::joined(&segment, "c", "hollow", &a, &token);
    wait_until("three vote", PATIENCE * 2, || three_vote(&c));
    a.kubectl(&["create", "configmap", "kept", "--from-literal=k=v"]);
    let refused = c.try_shoal(&["recover", "--dry-run"]).expect_err("a quorum is there");
    assert!(refused.contains("leads: the quorum is there"), "{refused}");

    a.kill_9();
    b.kill_9();
    // The first read waits for the loss to be known, the others do not.
    wait_until("reads are stale and say so", PATIENCE, || {
        let told = c.try_kubectl(&["get", "configmap", "kept", "-o=name"])?;
        if told.contains("configmap/kept") { Ok(()) } else { Err(told) }
    });
    let output = c.command("kubectl").args(["get", "configmap", "kept"]).output().expect("kubectl runs");
    let warning = String::from_utf8_lossy(&output.stderr);
    assert!(warning.contains("Warning: the cluster has no quorum"), "{warning}");
    let refused = c.try_kubectl(&["create", "configmap", "late"]).expect_err("nobody can acknowledge it");
    assert!(refused.contains("no quorum: 1 of 3 voters are reachable"), "{refused}");

    let plan = c.shoal(&["recover", "--dry-run"]);
    assert!(plan.contains("c would be the only voter") && plan.contains("given up"), "{plan}");
    let done = c.shoal(&["recover"]);
    assert!(done.contains("c leads; writes are taken again"), "{done}");
    c.kubectl(&["create", "configmap", "after"]);
    c.kubectl(&["get", "configmap", "kept", "after"]);

    for back in [&mut a, &mut b] {
        back.up(&[]);
    }
    for back in [&a, &b] {
        wait_until("it follows again", PATIENCE * 2, || back.try_kubectl(&["get", "configmap", "after"]).map(drop));
        assert!(back.log().contains("begins anew"), "it says what it does");
    }
    wait_until("three vote again", PATIENCE * 2, || three_vote(&c));
    c.kubectl(&["create", "configmap", "last"]);
    wait_until("all have it", Duration::from_secs(10), || a.try_kubectl(&["get", "configmap", "last"]).map(drop));
}

fn three_vote(at: &Machine) -> Result<(), String> {
    let told = at.try_shoal(&["status", "-o", "json"])?;
    if told.matches(VOTERS).count() == 2 && told.contains(r#""standing": "leader""#) { Ok(()) } else { Err(told) }
}
