//! Every check lets a right history pass and finds a planted breach, and no other check minds.

use std::collections::BTreeMap;

use super::all;
use crate::cli::chaos::history::{
    Carried, Converged, Ending, History, Item, Kind, Led, Outcome, Repair, Request, Sight, Watched,
};
use crate::cli::chaos::scenario::Act;

/// Every request takes this long, and the next begins as long after it.
const STEP: u64 = 10;

fn done(revision: u64) -> Outcome {
    Outcome::Done { revision: Some(revision), value: None, stale: false }
}

fn found(revision: u64, value: &str) -> Outcome {
    Outcome::Done { revision: Some(revision), value: Some(value.into()), stale: false }
}

fn unknown() -> Outcome {
    Outcome::Unknown { code: 0, why: "no answer".into() }
}

fn refused(code: u16) -> Outcome {
    Outcome::Refused { code, why: "planted".into() }
}

fn add(history: &mut History, kind: Kind, key: &str, value: &str, base: Option<u64>, outcome: Outcome) {
    let began = history.requests.len() as u64 * 2 * STEP;
    history.requests.push(Request {
        client: 0,
        node: 0,
        kind,
        key: key.into(),
        value: kind.writes().then(|| value.into()),
        base,
        attempt: 1,
        began,
        ended: began + STEP,
        outcome,
    });
}

fn change(watcher: u16, revision: u64, deleted: bool, key: &str, value: &str) -> Watched {
    Watched { watcher, at: 0, sight: Sight::Change { revision, deleted, key: key.into(), value: value.into() } }
}

fn item(revision: u64, value: &str) -> Item {
    Item { revision, value: value.into() }
}

/// Two objects: one made, replaced and read; one made, replaced without an answer, read and deleted.
fn right() -> History {
    let mut history = History::default();
    add(&mut history, Kind::Create, "a", "a1", None, done(2));
    add(&mut history, Kind::Create, "b", "b1", None, done(3));
    add(&mut history, Kind::Update, "a", "a2", Some(2), done(5));
    add(&mut history, Kind::Read, "a", "", None, found(5, "a2"));
    add(&mut history, Kind::Update, "b", "b2", Some(3), unknown());
    add(&mut history, Kind::Read, "b", "", None, found(6, "b2"));
    add(&mut history, Kind::Delete, "b", "b2", Some(6), Outcome::Done { revision: None, value: None, stale: false });
    add(&mut history, Kind::Rollout, "deployment/d", "d1", None, done(9));
    for watcher in 0..2 {
        let listed = Sight::Listed { revision: 1, items: BTreeMap::new() };
        history.watched.push(Watched { watcher, at: 0, sight: listed });
        history.watched.extend([
            change(watcher, 2, false, "a", "a1"),
            change(watcher, 3, false, "b", "b1"),
            change(watcher, 5, false, "a", "a2"),
            change(watcher, 6, false, "b", "b2"),
            change(watcher, 7, true, "b", "b2"),
        ]);
    }
    let listing: BTreeMap<String, Item> = [("a".into(), item(5, "a2"))].into();
    history.led = vec![led(1, Some("n1")), led(2, None), led(2, Some("n2")), led(2, Some("n2"))];
    history.faults.push(Carried {
        act: Act::Kill,
        nodes: vec!["n1".into()],
        began: 5,
        ended: Some(9),
        said: Ok(String::new()),
    });
    history.ending = Ending {
        listings: vec![("n1".into(), Ok(listing.clone())), ("n2".into(), Ok(listing))],
        deployments: vec![Converged { key: "deployment/d".into(), value: "d1".into(), outcome: Ok(5) }],
        healed: Some(Ok(5)),
        repairs: vec![Repair { node: "n3".into(), before: 7, after: Some(9), said: Some("rebuilt".into()) }],
        deaths: Vec::new(),
        last_revision: Some(7),
    };
    history
}

fn led(term: u64, leader: Option<&str>) -> Led {
    Led { at: 0, node: 0, term, leader: leader.map(Into::into) }
}

/// Names of the checks that a history breaks.
fn broken(history: &History) -> Vec<&'static str> {
    all(history).into_iter().filter(|verdict| !verdict.holds()).map(|verdict| verdict.name).collect()
}

/// Changes a right history and compares what is found.
fn check(plant: impl FnOnce(&mut History), expect: &[&str]) {
    let mut history = right();
    plant(&mut history);
    assert_eq!(broken(&history), expect);
}

fn outcome(history: &mut History, nth: usize, outcome: Outcome) {
    history.requests[nth].outcome = outcome;
}

fn end_with(history: &mut History, key: &str, value: Option<Item>) {
    for (_, listing) in &mut history.ending.listings {
        let listing = listing.as_mut().unwrap();
        match value.clone() {
            Some(value) => drop(listing.insert(key.into(), value)),
            None => drop(listing.remove(key)),
        }
    }
}

#[test]
fn a_right_history_breaks_nothing_and_every_check_looks_at_something() {
    let verdicts = all(&right());
    for verdict in &verdicts {
        let nothing_refused = verdict.name == "no write is refused for a reason that is not so";
        assert!(verdict.holds() && (verdict.examined > 0 || nothing_refused), "{verdict:?}");
    }
}

const LOST: &str = "no acknowledged write is lost";
const ENDS: &str = "watches come to the end, where lists are";
const READS: &str = "a read is never older than what was acknowledged before it";
const REFUSED: &str = "no write is refused for a reason that is not so";
const TELL_ALL: &str = "watches tell every change";

#[test]
fn a_lost_write_is_found() {
    check(|history| end_with(history, "a", None), &[LOST, ENDS]);
    check(|history| end_with(history, "a", Some(item(2, "a1"))), &[LOST, ENDS]);
    check(|history| end_with(history, "a", Some(item(8, "a2"))), &[LOST]);
    check(|history| end_with(history, "b", Some(item(6, "b2"))), &[LOST, ENDS]);
    check(|history| history.ending.deployments[0].value = "d0".into(), &[LOST]);
}

#[test]
fn a_write_without_an_answer_may_be_there_or_not() {
    let late = |history: &mut History, base| add(history, Kind::Update, "a", "a3", Some(base), unknown());
    check(|history| late(history, 5), &[]);
    let landed = |history: &mut History| {
        end_with(history, "a", Some(item(8, "a3")));
        (0..2).for_each(|watcher| history.watched.push(change(watcher, 8, false, "a", "a3")));
    };
    check(
        |history| {
            late(history, 5);
            landed(history);
        },
        &[],
    );
    // Once it was seen, it must not be gone again.
    check(
        |history| {
            late(history, 5);
            add(history, Kind::Read, "a", "", None, found(8, "a3"));
        },
        &[LOST],
    );
    // An answer that was lost is not forgiven where another was given since.
    check(
        |history| {
            late(history, 5);
            add(history, Kind::Update, "a", "a4", Some(5), done(10));
            landed(history);
        },
        &[LOST],
    );
}

#[test]
fn an_old_read_is_found_unless_the_server_calls_it_stale() {
    check(|history| outcome(history, 3, found(2, "a1")), &[READS]);
    check(
        |history| {
            let value = Some("a1".into());
            outcome(history, 3, Outcome::Done { revision: Some(2), value, stale: true });
        },
        &[],
    );
}

#[test]
fn a_doubled_revision_and_one_out_of_order_are_found() {
    check(
        |history| outcome(history, 7, done(5)),
        &["no two writes have the same revision", "revisions follow the order of acknowledgements"],
    );
    check(|history| outcome(history, 7, done(4)), &["revisions follow the order of acknowledgements"]);
}

#[test]
fn a_base_that_is_replaced_twice_is_found() {
    check(
        |history| add(history, Kind::Update, "a", "a2", Some(2), done(12)),
        &[LOST, "a revision is replaced by one write only"],
    );
}

#[test]
fn a_refusal_that_is_not_so_is_found() {
    check(|history| add(history, Kind::Update, "a", "a3", Some(5), refused(409)), &[REFUSED]);
    check(|history| add(history, Kind::Delete, "a", "a2", Some(5), refused(404)), &[REFUSED]);
    check(|history| add(history, Kind::Create, "c", "c1", None, refused(409)), &[REFUSED]);
    check(|history| add(history, Kind::Update, "a", "a3", Some(2), refused(409)), &[]);
    check(|history| add(history, Kind::Update, "a", "a3", Some(5), refused(429)), &[]);
}

#[test]
fn a_reordered_a_doubled_a_missing_and_an_invented_change_are_found() {
    const ORDER: &str = "watches tell changes in order, and none twice";
    // Of the first watcher: 1 and 2 are changes of both objects, 5 is the last.
    check(|history| history.watched.swap(1, 2), &[ORDER]);
    check(|history| history.watched.insert(2, history.watched[1].clone()), &[ORDER]);
    check(|history| drop(history.watched.remove(2)), &[TELL_ALL]);
    check(|history| drop(history.watched.remove(5)), &[ENDS]);
    check(
        |history| history.watched[2] = change(0, 3, false, "b", "b9"),
        &[TELL_ALL, "watches tell only what was written"],
    );
}

#[test]
fn two_leaders_of_a_term_are_found() {
    check(|history| history.led.push(led(2, Some("n1"))), &["a term has one leader"]);
}

#[test]
fn damage_that_nobody_found_or_told_of_is_found() {
    const MENDED: &str = "a damaged replica begins anew, and says so";
    check(|history| history.ending.repairs[0].after = Some(7), &[MENDED]);
    check(|history| history.ending.repairs[0].after = None, &[MENDED]);
    check(|history| history.ending.repairs[0].said = None, &[MENDED]);
}

#[test]
fn a_run_that_does_not_end_well_is_found() {
    check(|history| history.ending.deployments[0].outcome = Err("1 of 3".into()), &["deployments converge"]);
    check(|history| history.ending.healed = Some(Err("n2 is not Ready".into())), &["all nodes come back"]);
    check(|history| history.ending.deaths.push("n2".into()), &["no node's process ends by itself"]);
    check(|history| history.faults[0].ended = None, &["every fault is carried out and undone"]);
    check(|history| history.faults[0].said = Err("no".into()), &["every fault is carried out and undone"]);
    check(|history| history.ending.listings[1].1 = Err("503".into()), &["all nodes end with the same objects"]);
}
