//! What was seen dead never lives again under the same number, and no number goes back.

use std::collections::BTreeMap;

use super::Invariant;
use crate::mesh::member::Life;
use crate::sim::gossip::history::History;

/// The invariant.
pub const INVARIANT: Invariant = Invariant {
    id: "a-tombstone-never-revives",
    meaning: "a node that was seen dead or gone is seen alive again only under a larger number, and numbers only grow",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut last = BTreeMap::new();
    for seen in &history.sightings {
        let is_down = matches!(seen.life, Life::Dead | Life::Left);
        let before = last.insert((seen.by, seen.by_start, seen.of), (seen.number, is_down));
        let Some((number, was_down)) = before else { continue };
        if seen.number < number || (was_down && !is_down && seen.number == number) {
            return Err(format!("{seen:?} after {number:?}, down: {was_down}"));
        }
    }
    Ok(())
}
