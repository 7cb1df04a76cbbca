//! INV-8: who has been replaced writes nothing any more.

use super::Invariant;
use crate::sim::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-8 stale-epochs-write-nothing",
    meaning: "Once a control actor's newer epoch has written, a write under an older one is refused, restarts included.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let stale = history.stale_writes.first();
    stale.map_or(Ok(()), |epoch| Err(format!("a write under epoch {epoch} was accepted after a newer one")))
}
