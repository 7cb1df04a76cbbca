//! INV-C14: when faults have stopped and users are quiet, every set has its pods, and they run where they should.

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C14 sets-settle",
    meaning: "At last every set has the ready pods that it wants and no others, and exactly these run.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.end.unsettled.first().map_or(Ok(()), |what| Err(what.clone()))
}
