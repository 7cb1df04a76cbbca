//! INV-M15: once all has healed, calls are answered again.

use std::time::Duration;

use super::Invariant;
use crate::model::NodeId;
use crate::sim::mesh::history::{Call, History, Kind, Outcome};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M15 healed-calls-are-answered",
    meaning: "A while after healing every call with a sane deadline to a running node's lasting actors is answered.",
    check,
};

/// How long after healing nothing is promised yet.
const MENDS_WITHIN: Duration = Duration::from_secs(40);
/// The shortest deadline that a quiet network must keep.
const SANE: Duration = Duration::from_millis(500);

fn check(history: &History) -> Result<(), String> {
    let kept = |node: &NodeId| history.end.up.contains_key(node) && !history.revoked.contains_key(node);
    let cluster = |node: &NodeId| history.lives.iter().find(|life| life.who.node == *node).map(|life| life.cluster);
    let due = |call: &&Call| {
        call.asked > history.end.healed + MENDS_WITHIN
            && call.ended.is_some()
            && call.deadline >= SANE
            && matches!(call.kind, Kind::Increment | Kind::Echo | Kind::Local | Kind::Stream)
            && kept(&call.from.node)
            && kept(&call.to)
            && cluster(&call.from.node) == cluster(&call.to)
    };
    match history.calls.values().filter(due).find(|call| !is_answered(call)) {
        Some(call) => Err(format!("{call:?}")),
        None => Ok(()),
    }
}

fn is_answered(call: &Call) -> bool {
    matches!(call.ended, Some((_, Outcome::Answered(..))))
}
