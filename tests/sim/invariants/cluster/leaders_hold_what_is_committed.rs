//! INV-C11: whoever is elected has every entry that was committed before (leader completeness).

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C11 leaders-hold-what-is-committed",
    meaning: "Whoever begins to lead has every entry of older leaders that any replica has applied by then.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let lacking = history.reigns.iter().find(|reign| reign.last < reign.applied);
    lacking.map_or(Ok(()), |reign| Err(format!("{reign:?} does not have what was applied")))
}
