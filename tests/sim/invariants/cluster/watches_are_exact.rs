//! INV-C8: a watch that moves from node to node sees each change once, in order, without a gap.

use std::collections::BTreeSet;

use super::Invariant;
use crate::sim::cluster::history::{Followed, History};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C8 watches-are-exact",
    meaning: "Between a list and where a watch has come to, its events are exactly the changes that the log made, in order.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let changes = changes(history);
    history
        .followers
        .iter()
        .enumerate()
        .try_for_each(|(number, followed)| exact(followed, &changes).map_err(|odd| format!("watch {number}: {odd}")))
}

/// Every change that the log made: revision, key, and whether the key exists after it.
fn changes(history: &History) -> Vec<(u64, &str, bool)> {
    let mut there = BTreeSet::new();
    let mut changes = Vec::new();
    for (revision, put) in history.puts() {
        let key = put.key.as_str();
        let changed = match put.value {
            Some(_) => {
                there.insert(key);
                true
            }
            None => there.remove(key),
        };
        if changed {
            changes.push((revision, key, put.value.is_some()));
        }
    }
    changes
}

fn exact(followed: &Followed, changes: &[(u64, &str, bool)]) -> Result<(), String> {
    for (list, (from, to)) in followed.lists.iter().zip(&followed.reached).enumerate() {
        let seen = followed.events.iter().filter(|(of, ..)| *of == list);
        let mut seen = seen.map(|(_, revision, key, exists)| (*revision, key.as_str(), *exists));
        let mut due = changes.iter().filter(|(revision, ..)| revision > from && revision <= to).copied();
        loop {
            match (seen.next(), due.next()) {
                (None, None) => break,
                (saw, should) if saw == should => {}
                (saw, should) => {
                    return Err(format!("after the list at {from} it saw {saw:?} where {should:?} was due"));
                }
            }
        }
    }
    Ok(())
}
