//! Each invariant on histories that break it, and on one that breaks none.

use std::time::Duration;

use super::{ALWAYS, AT_LAST, Invariant};
use crate::sim::cluster::history::{Answer, Ask, Content, Entry, Followed, History, Operation, Put, Reign};

fn entry(leader: (u64, u64), key: &str, value: Option<u64>, fence: Option<(&str, u64)>) -> Entry {
    let fence = fence.map(|(actor, epoch)| (actor.to_owned(), epoch));
    let content = Content::Writes(vec![Put { key: key.into(), value }], fence);
    Entry { term: leader.0, leader: leader.1, content, done: true }
}

fn asked(key: &str, ask: Ask, (from, to): (u64, u64), answer: Answer) -> Operation {
    let at = Duration::from_millis;
    Operation { node: 0, key: key.into(), ask, from: at(from), answer: Some((at(to), answer)) }
}

fn all() -> impl Iterator<Item = &'static Invariant> {
    ALWAYS.iter().chain(AT_LAST)
}

/// A history in which nothing is wrong.
fn sound() -> History {
    let mut history = History::default();
    history.log.insert(1, entry((1, 1), "r1", Some(1), None));
    history.log.insert(2, entry((1, 1), "r1", Some(2), None));
    history.log.insert(3, entry((2, 2), "work", Some(100), Some(("scheduler", 1))));
    history.log.insert(4, entry((2, 2), "work", Some(203), Some(("scheduler", 2))));
    history.log.insert(5, entry((2, 2), "r1", None, None));
    history.operations.push(asked("r1", Ask::Write(Some(1)), (1, 2), Answer::Done(1)));
    history.operations.push(asked("r1", Ask::Write(Some(2)), (3, 4), Answer::Done(2)));
    history.operations.push(asked("r1", Ask::Read, (5, 6), Answer::Value(Some(2))));
    let event = |revision, key: &str, exists| (0, revision, key.to_owned(), exists);
    let events = vec![event(2, "r1", true), event(3, "work", true), event(4, "work", true), event(5, "r1", false)];
    history.followers.push(Followed { lists: vec![1], reached: vec![5], events, moves: 1 });
    history.reigns.push(Reign { term: 1, replica: 1, life: (0, 1), last: 0, applied: 0 });
    history.end.agreed = Some(Duration::from_secs(1));
    history
}

#[track_caller]
fn breaks(id: &str, spoil: impl FnOnce(&mut History)) {
    let mut history = sound();
    spoil(&mut history);
    let broken: Vec<&str> = all().filter(|one| (one.check)(&history).is_err()).map(|one| one.id).collect();
    assert!(broken.iter().any(|one| one.starts_with(&format!("{id} "))), "{broken:?}");
}

#[test]
fn a_sound_history_breaks_nothing() {
    for one in all() {
        assert_eq!((one.check)(&sound()), Ok(()), "{}", one.id);
    }
}

#[test]
fn every_breach_is_found_by_its_invariant() {
    breaks("INV-C1", |history| history.reigns.push(Reign { term: 1, replica: 1, life: (0, 2), last: 9, applied: 0 }));
    breaks("INV-C1", |history| drop(history.log.insert(5, entry((1, 3), "r1", None, None))));
    breaks("INV-C2", |history| history.disagreements.push("odd".into()));
    breaks("INV-C2", |history| history.jumps.push("odd".into()));
    breaks("INV-C2", |history| drop(history.log.remove(&3)));
    breaks("INV-C3", |history| history.refusals.push("damaged".into()));
    breaks("INV-C4", |history| drop(history.log.insert(2, entry((1, 1), "r1", Some(9), None))));
    breaks("INV-C4", |history| drop(history.end.replicas.insert(0, crate::sim::cluster::history::Replica::default())));
    breaks("INV-C5", |history| history.operations.push(asked("r2", Ask::Write(Some(8)), (7, 8), Answer::Done(1))));
    breaks("INV-C6", |history| drop(history.log.insert(6, entry((2, 2), "r1", Some(2), None))));
    breaks("INV-C7", |history| drop(history.log.insert(6, entry((2, 2), "work", Some(100), Some(("scheduler", 1))))));
    breaks("INV-C7", |history| drop(history.log.insert(6, entry((2, 2), "work", Some(204), Some(("scheduler", 2))))));
    breaks("INV-C8", |history| history.followers.iter_mut().for_each(|one| drop(one.events.remove(1))));
    breaks("INV-C8", |history| history.followers.iter_mut().for_each(|one| one.events.push(one.events[3].clone())));
    breaks("INV-C8", |history| history.followers.iter_mut().for_each(|one| one.events.swap(0, 1)));
    breaks("INV-C9", |history| history.operations.push(asked("r1", Ask::Read, (7, 8), Answer::Value(Some(1)))));
    breaks("INV-C11", |history| history.reigns.push(Reign { term: 2, replica: 1, life: (0, 2), last: 1, applied: 2 }));
    breaks("INV-C12", |history| history.deaths.push("ended".into()));
    breaks("INV-C13", |history| history.doubles.push("twice".into()));
    breaks("INV-C14", |history| history.end.unsettled.push("lacks a pod".into()));
    breaks("INV-C10", |history| history.end.agreed = None);
}
