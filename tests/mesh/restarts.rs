//! Nodes that stand still, start again, or come back elsewhere.

use std::thread::sleep;
use std::time::Duration;

use super::harness::{Machine, PATIENCE, Segment, wait_until};

/// How long a process stands still: long enough to be declared dead.
const STANDS_STILL: Duration = Duration::from_secs(10);

#[test]
fn a_node_that_stood_still_or_moved_comes_back_as_itself() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let b = Machine::joined(&segment, "b", "hollow", &a, &token);
    let mut c = Machine::joined(&segment, "c", "hollow", &a, &token);

    c.stop();
    wait_until("it is missed", STANDS_STILL, || a.sees_ready("c", false));
    // The condition above came early; the rest of the time is what the test is about.
    sleep(STANDS_STILL);
    c.go_on();
    is_there_again(&a, &b, &c);

    // A fast restart: the death of its connections and its new start arrive together.
    c.kill_9();
    c.up(&[]);
    c.wait_ready();
    is_there_again(&a, &b, &c);

    let elsewhere = segment.address(201);
    c.kill_9();
    c.readdress(elsewhere);
    c.up(&[]);
    c.wait_ready();
    is_there_again(&a, &b, &c);
    let address = r"-o=jsonpath={.status.addresses[?(@.type=='InternalIP')].address}";
    wait_until("its new address is told", PATIENCE, || {
        super::harness::same(a.try_kubectl(&["get", "node", "c", address])?, elsewhere.to_string())?;
        let wide = b.try_shoal(&["members", "-o", "wide"])?;
        if wide.contains(&format!("{elsewhere}:6443")) { Ok(()) } else { Err(wide) }
    });
}

fn is_there_again(a: &Machine, b: &Machine, c: &Machine) {
    for api in [a, b, c] {
        wait_until("it is alive again", PATIENCE, || api.sees(&[("a", "alive"), ("b", "alive"), ("c", "alive")]));
        wait_until("and Ready", PATIENCE, || api.sees_ready("c", true));
    }
}
