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
        replayed(watch, &history.end.objects)?;
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

/// A later list, or the end, holds exactly what the list before and the events after it say.
fn replayed(watch: &Followed, end: &BTreeMap<String, u64>) -> Result<(), String> {
    for (index, (_, listed)) in watch.lists.iter().enumerate() {
        let mut state = listed.clone();
        for event in watch.events.iter().filter(|event| event.list == index) {
            step(&mut state, event)?;
        }
        // After a 410 events in between were never promised; only the last stretch must reach the end.
        if index + 1 == watch.lists.len() && state != *end {
            return Err(format!("replaying gives {}", difference(&state, end)));
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

/// Two watches that cover the same revisions saw the same changes.
fn agree(watches: &[Followed]) -> Result<(), String> {
    let Some((first, rest)) = watches.split_first() else { return Ok(()) };
    let mine: BTreeSet<(u64, &str)> = first.events.iter().map(|event| (event.revision, event.key.as_str())).collect();
    for other in rest {
        let from = other
            .lists
            .first()
            .map_or(0, |(revision, _)| *revision)
            .max(first.lists.first().map_or(0, |(revision, _)| *revision));
        if first.lists.len() > 1 || other.lists.len() > 1 {
            continue;
        }
        let theirs: BTreeSet<(u64, &str)> =
            other.events.iter().map(|event| (event.revision, event.key.as_str())).collect();
        if let Some(odd) = mine.symmetric_difference(&theirs).find(|(revision, _)| *revision > from) {
            return Err(format!("one watch saw {odd:?}, another did not"));
        }
    }
    Ok(())
}

fn difference(have: &BTreeMap<String, u64>, want: &BTreeMap<String, u64>) -> String {
    let keys: BTreeSet<&String> = have.keys().chain(want.keys()).collect();
    let odd = keys.into_iter().find(|key| have.get(*key) != want.get(*key));
    odd.map_or_else(
        || "no difference".into(),
        |key| format!("{key} at {:?}, the list has {:?}", have.get(key), want.get(key)),
    )
}
