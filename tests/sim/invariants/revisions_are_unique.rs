//! INV-2: a revision names one change, for ever.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::history::{History, Outcome};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-2 revisions-are-unique",
    meaning: "No revision is used twice: two watches never see different changes at one, no two writes get the same.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    acknowledged_once(history)?;
    let mut seen: BTreeMap<(u64, &str), (&str, u64)> = BTreeMap::new();
    for event in history.watches.iter().flat_map(|watch| &watch.events) {
        let change = (event.kind.as_str(), event.digest);
        let before = *seen.entry((event.revision, event.key.as_str())).or_insert(change);
        if before != change {
            return Err(format!("revision {} of {} was {before:?} and then {change:?}", event.revision, event.key));
        }
    }
    Ok(())
}

fn acknowledged_once(history: &History) -> Result<(), String> {
    let mut owners: BTreeMap<u64, &str> = BTreeMap::new();
    for (key, writes) in &history.writes {
        for write in writes {
            let Outcome::Acknowledged(revision @ 1..) = write.outcome else { continue };
            if let Some(other) = owners.insert(revision, key) {
                return Err(format!("revision {revision} was given to {other} and to {key}"));
            }
        }
    }
    Ok(())
}
