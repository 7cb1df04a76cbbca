//! INV-C10: when faults have stopped, the cluster serves again and all replicas become the same.

use std::time::Duration;

use super::Invariant;
use crate::sim::cluster::history::{Answer, History, Operation};
use crate::sim::cluster::run::{CONVERGES_WITHIN, USED_FOR};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C10 everything-converges",
    meaning: "Soon after healing every operation is answered, and at last all replicas, members and watches agree.",
    check,
};

/// How long after healing operations may still go unanswered.
const SERVES_AFTER: Duration = Duration::from_secs(15);
/// The last ones may be under way when the users stop.
const LAST: Duration = Duration::from_secs(1);

fn check(history: &History) -> Result<(), String> {
    let (from, to) = (history.end.healed + SERVES_AFTER, history.end.healed + USED_FOR - LAST);
    let late = |operation: &&Operation| operation.from > from && operation.from < to;
    let lost = |operation: &&Operation| operation.answer.is_none_or(|(_, answer)| answer == Answer::Unknown);
    if let Some(lost) = history.operations.iter().filter(late).find(lost) {
        return Err(format!("long after healing nobody knows what became of {lost:?}"));
    }
    match history.end.agreed {
        Some(_) => Ok(()),
        None => {
            let ends = history.end.replicas.iter().map(|(slot, replica)| {
                let newest = replica.objects.values().map(|(revision, _)| *revision).max();
                format!("n{slot}: newest {newest:?}, led by {:?}, members {:?}", replica.leader, replica.members)
            });
            Err(format!("not within {CONVERGES_WITHIN:?}: {}", ends.collect::<Vec<_>>().join("; ")))
        }
    }
}
