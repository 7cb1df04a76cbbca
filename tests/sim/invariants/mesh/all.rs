//! What must hold of every run of the mesh. One file each, with an id and its meaning; compiled into `shoal sim`.

mod answers_belong_to_their_calls;
mod calls_run_at_most_once;
mod clusters_do_not_mix;
mod connections_are_few;
mod every_call_ends;
mod healed_calls_are_answered;
mod no_bad_certificate_is_accepted;
mod no_live_node_is_declared_dead;
mod only_own_names_are_signed;
mod outcomes_are_true;
#[cfg(test)]
mod tests;
mod the_dead_are_declared;
mod tokens_are_counted;
mod tombstones_stay;
mod views_converge;
mod watches_do_not_cry_wolf;
mod watches_end;

use std::time::Duration;

use crate::sim::mesh::history::History;

/// How long a node, however unwell it was, may take to declare a dead one: the longest silence that membership asks for
/// (1.25 s), times the worst local health (9), with its rounding.
pub const DECLARES_WITHIN: Duration = Duration::from_secs(15);
/// How long everything must have been well before a claim about a live node is held against a mesh.
pub const SETTLED: Duration = Duration::from_secs(5);

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
    calls_run_at_most_once::INVARIANT,
    answers_belong_to_their_calls::INVARIANT,
    outcomes_are_true::INVARIANT,
    every_call_ends::INVARIANT,
    watches_end::INVARIANT,
    watches_do_not_cry_wolf::INVARIANT,
    no_bad_certificate_is_accepted::INVARIANT,
    tokens_are_counted::INVARIANT,
    only_own_names_are_signed::INVARIANT,
    clusters_do_not_mix::INVARIANT,
    tombstones_stay::INVARIANT,
    no_live_node_is_declared_dead::INVARIANT,
    the_dead_are_declared::INVARIANT,
    views_converge::INVARIANT,
    connections_are_few::INVARIANT,
    healed_calls_are_answered::INVARIANT,
];
