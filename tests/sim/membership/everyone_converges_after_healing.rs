//! Once faults stop everybody sees everybody as they are.

use super::Invariant;
use crate::sim::gossip::history::History;

/// The invariant.
pub const INVARIANT: Invariant = Invariant {
    id: "everyone-converges-after-healing",
    meaning: "after the faults have healed every node knows of every other the last start, its fate and what it tells",
    check,
};

fn check(history: &History) -> Result<(), String> {
    for stand in &history.end {
        if stand.seen != Some(stand.truth) || stand.version != stand.true_version {
            return Err(format!("{stand:?}"));
        }
    }
    Ok(())
}
