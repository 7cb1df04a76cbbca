//! INV-C6: a write that was asked for once happens once, or never.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C6 operations-happen-at-most-once",
    meaning: "No value of a register, of which each is asked for once, is written twice, whatever answers got lost.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut written = BTreeMap::new();
    for (revision, put) in history.puts().filter(|(_, put)| put.key.starts_with('r') && !put.key.contains('/')) {
        let Some(value) = put.value else { continue };
        if let Some(first) = written.insert(value, revision) {
            return Err(format!("{value} was written to {} at {first} and again at {revision}", put.key));
        }
    }
    Ok(())
}
