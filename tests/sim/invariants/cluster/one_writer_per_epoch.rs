//! INV-C7: in an epoch one node writes as a control actor, and nobody of an older epoch after it.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::cluster::history::{Content, History};
use crate::sim::cluster::workload::actors::MACHINES;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C7 one-writer-per-epoch",
    meaning: "Writes of a control actor that were accepted have growing epochs, and in each epoch one node's only.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut writers: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for (revision, entry) in history.log.iter().filter(|(_, entry)| entry.done) {
        let Content::Writes(puts, Some((actor, epoch))) = &entry.content else { continue };
        let last = newest.entry(actor.as_str()).or_default();
        if epoch < last {
            return Err(format!("{actor} of epoch {epoch} wrote at {revision}, after epoch {last}"));
        }
        *last = *epoch;
        // What is smaller tells nobody.
        for value in puts.iter().filter_map(|put| put.value).filter(|value| *value >= MACHINES) {
            let first = *writers.entry((actor.as_str(), *epoch)).or_insert(value % MACHINES);
            if first != value % MACHINES {
                return Err(format!("n{first} and n{} wrote as {actor} of epoch {epoch}", value % MACHINES));
            }
        }
    }
    Ok(())
}
