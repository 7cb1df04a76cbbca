//! What must hold of every run. One file each, with an id and its meaning; compiled into `shoal sim`.

mod acknowledged_writes_survive;
mod no_container_without_a_pod;
mod no_update_is_lost;
mod owned_objects_go_with_their_owner;
mod replica_counts_converge;
mod revisions_are_unique;
mod stale_epochs_write_nothing;
mod watches_are_exact;

use crate::sim::history::History;

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
    acknowledged_writes_survive::INVARIANT,
    revisions_are_unique::INVARIANT,
    watches_are_exact::INVARIANT,
    replica_counts_converge::INVARIANT,
    owned_objects_go_with_their_owner::INVARIANT,
    no_container_without_a_pod::INVARIANT,
    no_update_is_lost::INVARIANT,
    stale_epochs_write_nothing::INVARIANT,
];
