//! Nobody is declared dead who lives and is within reach of a majority.

use std::collections::BTreeSet;

use super::Invariant;
use crate::mesh::member::Life;
use crate::sim::gossip::history::History;

/// The invariant.
pub const INVARIANT: Invariant = Invariant {
    id: "no-live-node-is-declared-dead",
    meaning: "no node is declared dead that lives, is awake, and has been within reach of a majority for a while",
    check,
};

fn check(history: &History) -> Result<(), String> {
    // Who hears late of a death that was declared in time is right to believe it.
    let mut declared = BTreeSet::new();
    for seen in history.sightings.iter().filter(|seen| seen.life == Life::Dead) {
        if declared.insert((seen.of, seen.number)) && seen.sound {
            return Err(format!("node {} declared {} {:?} dead at {:?}", seen.by, seen.of, seen.number, seen.at));
        }
    }
    Ok(())
}
