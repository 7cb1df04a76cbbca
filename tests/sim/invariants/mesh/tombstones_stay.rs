//! INV-M10: whoever was seen dead comes back only by its own doing.

use std::collections::BTreeMap;

use super::Invariant;
use crate::mesh::member::Life;
use crate::sim::mesh::history::{History, Seen, Sight, Who};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M10 tombstones-stay",
    meaning: "In one node's view a member's generation never goes back; a dead member lives again only with a higher \
              incarnation, one that left only with a higher generation.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut known: BTreeMap<(&Who, &crate::model::NodeId), Seen> = BTreeMap::new();
    for Sight { at, by, member, seen } in &history.sights {
        // What is forgotten stays a tombstone for this judge.
        let Some(seen) = seen else { continue };
        let Some(before) = known.get(&(by, member)).copied() else {
            known.insert((by, member), *seen);
            continue;
        };
        // SWIM lets a death override any incarnation of its life; the highest that was seen stays the mark to pass.
        let highest = match seen.generation == before.generation {
            true => seen.incarnation.max(before.incarnation),
            false => seen.incarnation,
        };
        known.insert((by, member), Seen { incarnation: highest, ..*seen });
        if member != &by.node && is_revived(before, *seen) {
            return Err(format!("at {at:?} {} sees {member} as {seen:?} after {before:?}", by.node));
        }
    }
    Ok(())
}

fn is_revived(before: Seen, now: Seen) -> bool {
    if now.generation != before.generation {
        return now.generation < before.generation;
    }
    let lives = matches!(now.life, Life::Alive | Life::Suspect);
    match before.life {
        Life::Dead => lives && now.incarnation <= before.incarnation,
        Life::Left => lives,
        Life::Alive | Life::Suspect => lives && now.incarnation < before.incarnation,
    }
}
