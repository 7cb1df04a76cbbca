//! INV-3: a watch sees every change once and in order, across restarts and compaction.

use std::collections::{BTreeMap, BTreeSet};

use super::Invariant;
use crate::sim::history::{Event, Followed, History};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-3 watches-are-exact",
    meaning: "A watch's events are ordered, none is missing or repeated, and replaying them gives what a list shows.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    for watch in &history.watches {
        ordered(watch)?;
        let of_resource = |key: &String| key.split('/').next() == Some(watch.resource.as_str());
        let end = history.end.objects.iter().filter(|(key, _)| of_resource(key));
        replayed(watch, &end.map(|(key, revision)| (key.clone(), *revision)).collect())?;
    }
    agree(&history.watches)
}

fn ordered(watch: &Followed) -> Result<(), String> {
    let mut last = (0, 0);
    let mut seen = BTreeSet::new();
    for event in &watch.events {
        let from = watch.lists.get(event.list).map_or(0, |(revision, _)| *revision);
        if event.revision <= from || (event.list == last.0 && event.revision < last.1) {
            return Err(format!("{event:?} came after revision {} (list at {from})", last.1));
        }
        if !seen.insert((event.list, event.revision, &event.key)) {
            return Err(format!("{event:?} came twice"));
        }
        last = (event.list, event.revision);
    }
    Ok(())
}

/// Every stretch of events follows from the list before it, and the last one leads to what is there at the end. (What
/// lies between a 410 and the list after it was never promised.)
fn replayed(watch: &Followed, end: &BTreeMap<String, u64>) -> Result<(), String> {
    for (index, (_, listed)) in watch.lists.iter().enumerate() {
        let mut state = listed.clone();
        for event in watch.events.iter().filter(|event| event.list == index) {
            step(&mut state, event)?;
        }
        if index + 1 == watch.lists.len() && state != *end {
            return Err(format!("replaying {} gives {}", watch.resource, difference(&state, end)));
        }
    }
    Ok(())
}

fn step(state: &mut BTreeMap<String, u64>, event: &Event) -> Result<(), String> {
    let known = state.contains_key(&event.key);
    match event.kind.as_str() {
        "ADDED" if !known => state.insert(event.key.clone(), event.revision),
        "MODIFIED" if known => state.insert(event.key.clone(), event.revision),
        "DELETED" if known => state.remove(&event.key),
        _ => return Err(format!("{event:?} does not follow from what was seen before (known: {known})")),
    };
    Ok(())
}

/// Two watches of a resource saw the same changes in the revisions that both covered without a gap.
fn agree(watches: &[Followed]) -> Result<(), String> {
    for (index, one) in watches.iter().enumerate() {
        for other in watches.iter().skip(index + 1).filter(|other| other.resource == one.resource) {
            let (Some(from_one), Some(from_other)) = (last_list(one), last_list(other)) else { continue };
            let from = from_one.max(from_other);
            let (mine, theirs) = (changes(one, from), changes(other, from));
            if let Some(odd) = mine.symmetric_difference(&theirs).next() {
                return Err(format!("one watch of {} saw {odd:?}, another did not", one.resource));
            }
        }
    }
    Ok(())
}

fn last_list(watch: &Followed) -> Option<u64> {
    watch.lists.last().map(|(revision, _)| *revision)
}

fn changes(watch: &Followed, after: u64) -> BTreeSet<(u64, &str)> {
    let late = watch.events.iter().filter(|event| event.revision > after);
    late.map(|event| (event.revision, event.key.as_str())).collect()
}

fn difference(have: &BTreeMap<String, u64>, want: &BTreeMap<String, u64>) -> String {
    let keys: BTreeSet<&String> = have.keys().chain(want.keys()).collect();
    let odd = keys.into_iter().find(|key| have.get(*key) != want.get(*key));
    odd.map_or_else(
        || "no difference".into(),
        |key| format!("{key} at {:?}, the list has {:?}", have.get(key), want.get(key)),
    )
}
