//! INV-C11: whoever is elected has every entry that was committed before (leader completeness).

use super::Invariant;
use crate::sim::cluster::history::{History, Reign};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C11 leaders-hold-what-is-committed",
    meaning: "Whoever begins to lead has every entry of older leaders that any replica ever applied.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let lacks = |reign: &Reign| {
        let older = |entry: &(u64, u64)| *entry < (reign.term, reign.replica);
        let mut after = history.log.range(reign.last + 1..);
        after.find(|(_, entry)| older(&(entry.term, entry.leader))).map(|(index, _)| *index)
    };
    let found = history.reigns.iter().find_map(|reign| Some((reign, lacks(reign)?)));
    found.map_or(Ok(()), |(reign, index)| Err(format!("{reign:?} does not have entry {index}, which was applied")))
}
