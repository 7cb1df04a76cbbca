//! What must hold of every run of the cluster. One file each, with an id and its meaning; compiled into `shoal sim`.

mod acknowledged_writes_survive;
mod everything_converges;
mod leaders_are_elected_once;
mod leaders_hold_what_is_committed;
mod logs_match;
mod no_replica_ends_by_itself;
mod no_replica_is_damaged_by_itself;
mod one_writer_per_epoch;
mod operations_are_linearizable;
mod operations_happen_at_most_once;
mod pods_run_once;
mod revisions_are_unique_and_ordered;
mod sets_settle;
#[cfg(test)]
mod tests;
mod watches_are_exact;

use crate::sim::cluster::history::History;

/// A property of a history.
pub struct Invariant {
    /// Short, stable name; printed by a failure.
    pub id: &'static str,
    /// What it says, in a sentence.
    pub meaning: &'static str,
    /// Finds a breach and says where.
    pub check: fn(&History) -> Result<(), String>,
}

/// What holds at any time, those that tell most about a cause first.
pub const ALWAYS: &[Invariant] = &[
    leaders_are_elected_once::INVARIANT,
    leaders_hold_what_is_committed::INVARIANT,
    logs_match::INVARIANT,
    no_replica_is_damaged_by_itself::INVARIANT,
    acknowledged_writes_survive::INVARIANT,
    revisions_are_unique_and_ordered::INVARIANT,
    operations_happen_at_most_once::INVARIANT,
    one_writer_per_epoch::INVARIANT,
    watches_are_exact::INVARIANT,
    operations_are_linearizable::INVARIANT,
    pods_run_once::INVARIANT,
    no_replica_ends_by_itself::INVARIANT,
];

/// What holds at the end.
pub const AT_LAST: &[Invariant] = &[everything_converges::INVARIANT, sets_settle::INVARIANT];
