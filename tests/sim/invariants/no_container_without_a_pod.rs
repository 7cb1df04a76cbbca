//! INV-6: containers are exactly those of pods.

use std::collections::BTreeSet;

use super::Invariant;
use crate::sim::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-6 no-container-without-a-pod",
    meaning: "When faults have stopped, every container belongs to a pod, and no container of a pod runs twice.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (uid, name) in &history.end.containers {
        if !history.end.pods.contains(uid) {
            return Err(format!("container {name} runs for pod {uid}, which does not exist"));
        }
        if !seen.insert((uid, name)) {
            return Err(format!("container {name} of pod {uid} runs twice"));
        }
    }
    Ok(())
}
