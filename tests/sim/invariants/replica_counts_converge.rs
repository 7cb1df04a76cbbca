//! INV-4: once faults stop, there are as many ready pods as were asked for.

use super::Invariant;
use crate::sim::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-4 replica-counts-converge",
    meaning: "When faults have stopped, every set has exactly the pods that it wants, and they are Ready.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let odd = history.end.replicas.iter().find(|set| set.ready != set.wanted || set.pods != set.wanted);
    odd.map_or(Ok(()), |set| Err(format!("{set:?}")))
}
