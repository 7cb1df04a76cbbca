//! INV-C13: of a pod that must not run twice there is at no moment more than one that runs, on whichever machine.

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C13 pods-run-once",
    meaning: "Of a pod that must not run twice never two run at a time, whoever is cut off from whom.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.doubles.first().map_or(Ok(()), |what| Err(what.clone()))
}
