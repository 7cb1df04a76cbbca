//! INV-C12: a replica whose disk does what it is asked goes on.

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C12 no-replica-ends-by-itself",
    meaning: "A store ends only where its disk failed it, was changed behind its back, or lost its power.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.deaths.first().map_or(Ok(()), |what| Err(what.clone()))
}
