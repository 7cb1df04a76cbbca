//! INV-C1: a right to lead is won once, by one replica, for one life.
//!
//! The right is a term and a number: openraft lets two replicas lead one after the other in a term, the higher number
//! last, and orders their entries by both. What must never be is that a right is used again after a restart, or that the
//! log goes back to an older one.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C1 leaders-are-elected-once",
    meaning: "Nobody leads twice by one election, restarts included, and entries of older leaders never follow newer ones.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut lives = BTreeMap::new();
    for reign in &history.reigns {
        let first = lives.entry((reign.term, reign.replica)).or_insert(reign.life);
        if *first != reign.life {
            return Err(format!("{reign:?} leads by a right that life {first:?} had"));
        }
    }
    let mut newest = (0, 0);
    for (index, entry) in &history.log {
        let leader = (entry.term, entry.leader);
        if leader < newest {
            return Err(format!("entry {index} is of leader {leader:?}, one before it of {newest:?}"));
        }
        newest = leader;
    }
    Ok(())
}
