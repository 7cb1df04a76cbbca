//! INV-M6: a watch does not end while what it watches lives and can be reached.

use super::{Invariant, SETTLED};
use crate::sim::mesh::history::{History, Watched};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M6 watches-do-not-cry-wolf",
    meaning: "A watch of an actor that is exported all the time, on a node that could be reached all the time, goes on.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.watches.iter().try_for_each(|watch| judge(history, watch))
}

fn judge(history: &History, watch: &Watched) -> Result<(), String> {
    let Some((at, node_ended)) = watch.ended.first().copied() else { return Ok(()) };
    let from = at.saturating_sub(SETTLED);
    let (Some(watcher), Some(life)) = (history.life(&watch.from), history.life_at(&watch.node, at)) else {
        return Ok(());
    };
    let exported = history
        .exports
        .iter()
        .any(|(who, actor, span)| *who == life.who && *actor == watch.actor && span.covers(from, at));
    // A watch that began under an earlier life of the node rightly ends.
    let same = life.span.from <= watch.began.min(from);
    let reachable = history.is_of_majority(life, from, at)
        && history.is_of_majority(watcher, from, at)
        && history.is_open(watcher.slot, life.slot, from, at)
        && history.is_fair(from, at);
    if same && reachable && exported && watch.began <= from {
        let what = if node_ended { "node" } else { "actor" };
        return Err(format!("{watch:?}: the {what} has not ended"));
    }
    Ok(())
}
