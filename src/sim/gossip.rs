//! Gossip alone, simulated event by event in one thread: many more nodes and hours than the simulator of whole nodes
//! can run. A seed decides everything.
//!
//! Rooms: `world` network and time; `history` what was seen, as data; `plan` random faults; `measure` figures for
//! `benches/gossip.rs`; `invariants` (in `tests/sim/membership`, one file each).

pub mod history;
#[path = "../../tests/sim/membership/all.rs"]
pub mod invariants;
pub mod measure;
mod plan;
pub mod world;

use history::History;

/// What a run went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Nodes.
    pub nodes: usize,
    /// Faults that were put in.
    pub faults: usize,
    /// Changes that some node saw of another.
    pub sightings: usize,
}

/// What must hold, and did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {invariant}: {what}")]
pub struct Violation {
    /// Replays it.
    pub seed: u64,
    /// The invariant's id.
    pub invariant: &'static str,
    /// Where it was broken.
    pub what: String,
}

/// A small cluster under random faults, which then heal; judges what every node saw.
///
/// # Errors
/// The first invariant that was broken.
pub fn run(seed: u64) -> Result<Report, Violation> {
    run_and_trace(seed).0
}

/// Like [`run`], with what every node saw, a line each.
pub fn run_and_trace(seed: u64) -> (Result<Report, Violation>, String) {
    let (history, report) = plan::run(seed);
    let line = |seen: &history::Sighting| {
        let (at, number) = (seen.at.as_secs_f64(), seen.number);
        let sound = if seen.sound { ", and should know" } else { "" };
        format!("{at:>12.6} {} sees {} {number:?} as {:?}{sound}\n", seen.by, seen.of, seen.life)
    };
    let trace = history.sightings.iter().map(line).collect();
    (judge(seed, &history).map(|()| report), trace)
}

fn judge(seed: u64, history: &History) -> Result<(), Violation> {
    for invariant in invariants::ALL {
        (invariant.check)(history).map_err(|what| Violation { seed, invariant: invariant.id, what })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
