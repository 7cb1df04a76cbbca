//! INV-C3: a disk that nobody tampered with opens again, whatever happened to its power.

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C3 no-replica-is-damaged-by-itself",
    meaning: "A store refuses its files as damaged or as another's only where somebody has changed them.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.refusals.first().map_or(Ok(()), |what| Err(what.clone()))
}
