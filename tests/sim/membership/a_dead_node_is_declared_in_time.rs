//! A dead node is declared dead by everybody within the bound.

use std::time::Duration;

use super::Invariant;
use crate::sim::gossip::history::History;

/// Within this of its end; the p99 that is aimed at is 2.5 s, this is the worst of many.
const BOUND: Duration = Duration::from_secs(5);

/// The invariant.
pub const INVARIANT: Invariant = Invariant {
    id: "a-dead-node-is-declared-in-time",
    meaning: "every node sees within seconds that a node is dead, where the network is whole",
    check,
};

fn check(history: &History) -> Result<(), String> {
    match history.deaths.iter().find(|death| death.seen_after.is_none_or(|after| after > BOUND)) {
        None => Ok(()),
        Some(death) => Err(format!("node {} saw the end of {} after {:?}", death.by, death.of, death.seen_after)),
    }
}
