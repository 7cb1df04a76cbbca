//! INV-M12: whoever is dead is declared dead by every living node of the majority, in bounded time.

use super::{DECLARES_WITHIN, Invariant};
use crate::mesh::member::Life as Liveness;
use crate::sim::mesh::history::{History, Life, Seen};
use crate::sim::mesh::time::At;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M12 the-dead-are-declared",
    meaning: "A node of the majority does not see a dead process as living for longer than the bound.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.lives.iter().try_for_each(|dead| {
        let Some(end) = dead.span.to else { return Ok(()) };
        let limit = end + DECLARES_WITHIN;
        if limit > history.end.at || !history.is_fair(end, limit) {
            return Ok(());
        }
        history
            .lives
            .iter()
            .filter(|by| by.cluster == dead.cluster)
            .try_for_each(|by| judge(history, dead, by, end, limit))
    })
}

fn judge(history: &History, dead: &Life, by: &Life, end: At, limit: At) -> Result<(), String> {
    if !history.is_of_majority(by, end, limit) {
        return Ok(());
    }
    match last_seen(history, by, dead, limit) {
        Some(seen) if seen.generation == dead.who.generation && is_living(seen.life) => Err(format!(
            "{} ended at {end:?}, and at {limit:?} {} still sees it as {seen:?}",
            dead.who.node, by.who.node
        )),
        _ => Ok(()),
    }
}

fn last_seen(history: &History, by: &Life, dead: &Life, limit: At) -> Option<Seen> {
    let mine = |sight: &&crate::sim::mesh::history::Sight| sight.by == by.who && sight.member == dead.who.node;
    history.sights.iter().take_while(|sight| sight.at <= limit).filter(mine).last()?.seen
}

fn is_living(life: Liveness) -> bool {
    matches!(life, Liveness::Alive | Liveness::Suspect)
}
