//! Whether a history is one that a correct cluster may have: pure, and the same for every run.
//!
//! `model` knows what an object may be after what its one writer did, `objects` holds requests and the end against it,
//! `revisions` their order, `watches` what watchers saw, `cluster` everything else.

mod cluster;
mod model;
mod objects;
mod revisions;
#[cfg(test)]
mod tests;
mod watches;

use serde::Serialize;

use super::history::History;

/// Breaches of one check that are told; the others are only counted.
pub const MAX_TOLD: usize = 20;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What must hold, as a sentence.
    pub name: &'static str,
    /// How many things were looked at.
    pub examined: usize,
    /// How many of them break it.
    pub breaches: usize,
    /// The first of those.
    pub told: Vec<String>,
}

impl Verdict {
    /// A check that has looked at nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, examined: 0, breaches: 0, told: Vec::new() }
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.breaches == 0
    }

    /// Notes a breach.
    pub fn breach(&mut self, told: impl FnOnce() -> String) {
        self.breaches += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(told());
        }
    }

    /// Looks at one more thing, which must hold.
    pub fn demand(&mut self, holds: bool, told: impl FnOnce() -> String) {
        self.examined += 1;
        if !holds {
            self.breach(told);
        }
    }
}

/// All checks, in the order of a report.
pub fn all(history: &History) -> Vec<Verdict> {
    let mut verdicts = vec![cluster::served(history)];
    verdicts.extend(objects::verdicts(history));
    verdicts.extend(revisions::verdicts(history));
    verdicts.extend(watches::verdicts(history));
    verdicts.extend([
        cluster::one_leader_a_term(history),
        cluster::deployments_converge(history),
        cluster::heals(history),
        cluster::nothing_ends_by_itself(history),
        cluster::damage_is_mended(history),
        cluster::faults_were_carried_out(history),
    ]);
    verdicts
}
