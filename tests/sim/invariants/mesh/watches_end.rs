//! INV-M5: whoever watches an actor is told once when it or its node has ended.

use super::{DECLARES_WITHIN, Invariant};
use crate::sim::mesh::history::{History, Watched};
use crate::sim::mesh::time::At;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M5 watches-end",
    meaning: "A watch ends exactly once, in bounded time after the actor is withdrawn or its node has ended.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.watches.iter().try_for_each(|watch| judge(history, watch))
}

fn judge(history: &History, watch: &Watched) -> Result<(), String> {
    if watch.ended.len() > 1 {
        return Err(format!("{watch:?} ended more than once"));
    }
    let Some(due) = due(history, watch) else { return Ok(()) };
    let limit = due + DECLARES_WITHIN;
    let Some(watcher) = history.life(&watch.from) else { return Ok(()) };
    let told = watch.ended.first().is_some_and(|(at, _)| *at <= limit);
    let held = limit < history.end.at && history.is_of_majority(watcher, due, limit) && history.is_fair(due, limit);
    if held && !told {
        return Err(format!("{watch:?} has not ended {DECLARES_WITHIN:?} after what it watches, at {due:?}"));
    }
    Ok(())
}

/// When what is watched ended for good: its node's life, or its export while both ends could talk. Only what began well
/// before counts: a watch may reach a node after the end.
fn due(history: &History, watch: &Watched) -> Option<At> {
    let life = history.life_at(&watch.node, watch.began)?;
    let watcher = history.life(&watch.from)?;
    let node_ends = life.span.to.filter(|end| {
        let again = history.life_at(&watch.node, *end + DECLARES_WITHIN);
        again.is_none_or(|again| again.who.generation > life.who.generation)
    });
    let withdrawn = history
        .exports
        .iter()
        .filter(|(who, actor, span)| {
            *who == life.who && *actor == watch.actor && span.touches(watch.began, watch.began)
        })
        .find_map(|(_, _, span)| span.to)
        .filter(|at| {
            let (from, to) = (watch.began, *at + DECLARES_WITHIN);
            history.is_well(life, from, to) && history.is_open(watcher.slot, life.slot, from, to)
        });
    node_ends.into_iter().chain(withdrawn).min()
}
