//! INV-C2: all replicas apply the same entries, each once and in order (log matching, leader completeness).

use super::Invariant;
use crate::sim::cluster::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C2 logs-match",
    meaning: "What any replica applied at a revision, every other one applied there too, with the same outcome, in order.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    if let Some(odd) = history.disagreements.iter().chain(&history.jumps).next() {
        return Err(odd.clone());
    }
    let mut next = history.log.keys().next().copied().unwrap_or(0);
    for index in history.log.keys() {
        if *index != next {
            return Err(format!("nobody applied entry {next}, but {index} was applied"));
        }
        next += 1;
    }
    Ok(())
}
