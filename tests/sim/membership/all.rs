//! What must hold of every run of gossip. One file each, with an id and its meaning.

mod a_dead_node_is_declared_in_time;
mod a_tombstone_never_revives;
mod everyone_converges_after_healing;
mod no_live_node_is_declared_dead;

use crate::sim::gossip::history::History;

/// A property of a history.
pub struct Invariant {
    /// Short, stable name; printed by a failure.
    pub id: &'static str,
    /// What it says, in a sentence.
    pub meaning: &'static str,
    /// Finds a breach and says where.
    pub check: fn(&History) -> Result<(), String>,
}

/// All of them.
pub const ALL: &[Invariant] = &[
    no_live_node_is_declared_dead::INVARIANT,
    a_dead_node_is_declared_in_time::INVARIANT,
    everyone_converges_after_healing::INVARIANT,
    a_tombstone_never_revives::INVARIANT,
];
