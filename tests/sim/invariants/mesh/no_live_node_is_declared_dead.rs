//! INV-M11: whoever a majority can reach is not declared dead by that majority.

use super::{Invariant, SETTLED};
use crate::mesh::member::Life;
use crate::sim::mesh::history::{History, Sight, Who};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M11 no-live-node-is-declared-dead",
    meaning: "A node that has run unhindered and could exchange packets with a majority for a while is not declared dead \
              or gone by a node that could exchange packets with it.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.sights.iter().try_for_each(|sight| judge(history, sight))
}

fn judge(history: &History, sight: &Sight) -> Result<(), String> {
    let Some(seen) = sight.seen.filter(|seen| matches!(seen.life, Life::Dead | Life::Left)) else { return Ok(()) };
    let who = Who { node: sight.member.clone(), generation: seen.generation };
    let (Some(life), Some(by)) = (history.life(&who), history.life(&sight.by)) else { return Ok(()) };
    let from = sight.at.saturating_sub(SETTLED);
    let held = history.is_of_majority(life, from, sight.at)
        && history.is_of_majority(by, from, sight.at)
        && history.is_open(life.slot, by.slot, from, sight.at)
        && history.is_fair(from, sight.at);
    if held {
        return Err(format!(
            "at {:?} {} sees {} as {seen:?}, which lives and is reached",
            sight.at, by.who.node, who.node
        ));
    }
    Ok(())
}
