//! What happened in a run of gossip, as data that invariants judge.

use std::time::Duration;

use crate::mesh::member::Life;

/// A life of a node: its start, and its number of renewals in that.
pub type Number = (u64, u64);

/// A node saw that another's life had changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When, since the start.
    pub at: Duration,
    /// Who saw it.
    pub by: usize,
    /// Which start of who saw it: it remembers nothing from before.
    pub by_start: u64,
    /// Of whom.
    pub of: usize,
    /// Which life.
    pub number: Number,
    /// How it seemed.
    pub life: Life,
    /// Whether the other was in fact alive, awake and within reach of a majority for a while, and so was who saw it.
    pub sound: bool,
}

/// How a node sees another at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Who sees it.
    pub by: usize,
    /// Of whom; `None` of the rest where it does not know of it.
    pub of: usize,
    /// The life it knows of, and what it takes it for.
    pub seen: Option<(u64, Life)>,
    /// Version of what it tells, as known.
    pub version: u64,
    /// The truth: the last start and what became of it.
    pub truth: (u64, Life),
    /// Version of what it tells, in truth.
    pub true_version: u64,
}

/// A node ended while all was well otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Who.
    pub of: usize,
    /// How long each of the others took to see it, [`None`] where it did not.
    pub seen_after: Option<Duration>,
    /// By whom.
    pub by: usize,
}

/// A run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In order.
    pub sightings: Vec<Sighting>,
    /// Ends in calm times.
    pub deaths: Vec<Death>,
    /// How all stood at the end, after healing.
    pub end: Vec<Standing>,
}
