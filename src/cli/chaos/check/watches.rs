//! What watchers saw: each change once, in order, all of them, and nothing that nobody wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::cli::chaos::history::{History, Kind, Sight};

/// One list and the changes after it.
struct Stretch<'a> {
    watcher: u16,
    from: u64,
    changes: Vec<Change<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change<'a> {
    revision: u64,
    deleted: bool,
    key: &'a str,
    value: &'a str,
}

/// The checks.
pub fn verdicts(history: &History) -> Vec<Verdict> {
    let stretches = stretches(history);
    let all = union(&stretches);
    vec![ordered(&stretches), complete(history, &stretches, &all), written(history, &stretches), ends(history, &stretches)]
}

fn stretches(history: &History) -> Vec<Stretch<'_>> {
    let mut stretches: Vec<Stretch<'_>> = Vec::new();
    for watched in &history.watched {
        match &watched.sight {
            Sight::Listed { revision, .. } => {
                stretches.push(Stretch { watcher: watched.watcher, from: *revision, changes: Vec::new() });
            }
            Sight::Resumed { .. } => {}
            Sight::Change { revision, deleted, key, value } => {
                let change = Change { revision: *revision, deleted: *deleted, key, value };
                let mine = stretches.iter_mut().rev().find(|stretch| stretch.watcher == watched.watcher);
                if let Some(stretch) = mine {
                    stretch.changes.push(change);
                }
            }
        }
    }
    stretches
}

/// Every change that any watcher saw, by revision.
fn union<'a>(stretches: &[Stretch<'a>]) -> BTreeMap<u64, Change<'a>> {
    stretches.iter().flat_map(|stretch| &stretch.changes).map(|change| (change.revision, *change)).collect()
}

fn ordered(stretches: &[Stretch<'_>]) -> Verdict {
    let mut verdict = Verdict::new("watches tell changes in order, and none twice");
    for stretch in stretches {
        let mut before = stretch.from;
        for change in &stretch.changes {
            verdict.demand(change.revision > before, || {
                format!("watcher {}: revision {} of {} after {before}", stretch.watcher, change.revision, change.key)
            });
            before = before.max(change.revision);
        }
    }
    verdict
}

/// Each stretch has all changes that another saw, with the same content, and all writes that were acknowledged.
fn complete(history: &History, stretches: &[Stretch<'_>], all: &BTreeMap<u64, Change<'_>>) -> Verdict {
    let mut verdict = Verdict::new("watches tell every change");
    let writes: BTreeMap<u64, (&str, &str)> = history
        .requests
        .iter()
        .filter(|request| matches!(request.kind, Kind::Create | Kind::Update))
        .filter_map(|request| Some((request.revision()?, (request.key.as_str(), request.value.as_deref()?))))
        .collect();
    for stretch in stretches {
        let mine = union(std::slice::from_ref(stretch));
        let to = mine.last_key_value().map_or(stretch.from, |(revision, _)| *revision);
        let range = (std::ops::Bound::Excluded(stretch.from), std::ops::Bound::Included(to));
        if stretch.from >= to {
            continue;
        }
        for (revision, change) in all.range(range) {
            verdict.demand(mine.get(revision) == Some(change), || {
                format!("watcher {}: {:?} where another has {change:?}", stretch.watcher, mine.get(revision))
            });
        }
        for (revision, (key, value)) in writes.range(range) {
            let told = mine.get(revision).is_some_and(|told| told.key == *key && told.value == *value && !told.deleted);
            verdict.demand(told, || {
                format!("watcher {}: acknowledged write {revision} of {key} is missing or another", stretch.watcher)
            });
        }
    }
    deletions(history, stretches, all, &mut verdict);
    verdict
}

/// The answer to a deletion has no revision: it is found by what it deleted, where somebody watched all the time.
fn deletions(history: &History, stretches: &[Stretch<'_>], all: &BTreeMap<u64, Change<'_>>, verdict: &mut Verdict) {
    let watchers: BTreeSet<u16> = stretches.iter().map(|stretch| stretch.watcher).collect();
    let constant =
        watchers.iter().any(|watcher| stretches.iter().filter(|stretch| stretch.watcher == *watcher).count() == 1);
    if !constant {
        return;
    }
    let told: BTreeSet<(&str, &str)> =
        all.values().filter(|change| change.deleted).map(|change| (change.key, change.value)).collect();
    for request in history.requests.iter().filter(|request| request.kind == Kind::Delete && request.done()) {
        let value = request.value.as_deref().unwrap_or_default();
        verdict.demand(told.contains(&(request.key.as_str(), value)), || {
            format!("nobody was told that {} with {value:?} was deleted", request.key)
        });
    }
}

/// Nobody invents: every value was sent by somebody, and was not refused.
fn written(history: &History, stretches: &[Stretch<'_>]) -> Verdict {
    let mut verdict = Verdict::new("watches tell only what was written");
    let sent: BTreeSet<(&str, &str)> = history
        .requests
        .iter()
        .filter(|request| request.done() || request.unknown())
        .filter_map(|request| Some((request.key.as_str(), request.value.as_deref()?)))
        .collect();
    for change in stretches.iter().flat_map(|stretch| &stretch.changes) {
        verdict.demand(sent.contains(&(change.key, change.value)), || format!("nobody wrote {change:?}"));
    }
    verdict
}

/// Every watcher comes to the last write, and what it saw adds up to what lists show.
fn ends(history: &History, stretches: &[Stretch<'_>]) -> Verdict {
    let mut verdict = Verdict::new("watches come to the end, where lists are");
    let listed = history.ending.listings.iter().find_map(|(_, listing)| listing.as_ref().ok());
    for watcher in watchers(history) {
        let mine: Vec<&Stretch<'_>> = stretches.iter().filter(|stretch| stretch.watcher == watcher).collect();
        let seen = mine.last().map_or(0, |last| last.changes.last().map_or(last.from, |change| change.revision));
        if let Some(last) = history.ending.last_revision {
            verdict.demand(seen >= last, || format!("watcher {watcher} came to revision {seen}, the last is {last}"));
        }
        let Some(listed) = listed.filter(|_| history.ending.last_revision.is_some_and(|last| seen >= last)) else {
            continue;
        };
        let sum = sum(history, watcher);
        let listed: BTreeMap<&str, &str> =
            listed.iter().map(|(key, item)| (key.as_str(), item.value.as_str())).collect();
        verdict.demand(sum == listed, || {
            let differ = |key: &&&str| sum.get(**key) != listed.get(**key);
            let keys: BTreeSet<&str> = sum.keys().chain(listed.keys()).copied().collect();
            let keys: Vec<&str> = keys.iter().filter(|key| differ(&key)).take(5).copied().collect();
            format!("watcher {watcher} ends with another value than lists have for {keys:?}")
        });
    }
    verdict
}

fn watchers(history: &History) -> BTreeSet<u16> {
    history.watched.iter().map(|watched| watched.watcher).collect()
}

/// What is there by what a watcher saw.
fn sum(history: &History, watcher: u16) -> BTreeMap<&str, &str> {
    let mut sum = BTreeMap::new();
    for watched in history.watched.iter().filter(|watched| watched.watcher == watcher) {
        match &watched.sight {
            Sight::Listed { items, .. } => {
                sum = items.iter().map(|(key, item)| (key.as_str(), item.value.as_str())).collect();
            }
            Sight::Change { deleted: true, key, .. } => drop(sum.remove(key.as_str())),
            Sight::Change { key, value, .. } => drop(sum.insert(key.as_str(), value.as_str())),
            Sight::Resumed { .. } => {}
        }
    }
    sum
}
