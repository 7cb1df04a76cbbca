//! INV-5: nothing outlives its owner.

use super::Invariant;
use crate::sim::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-5 owned-objects-go-with-their-owner",
    meaning: "When faults have stopped, no object names a controlling owner that does not exist.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.end.orphans.first().map_or(Ok(()), |(key, owner)| Err(format!("{key} is owned by {owner}, which is gone")))
}
