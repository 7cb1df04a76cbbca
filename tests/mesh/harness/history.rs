//! What clients of a whole cluster were told, and whether a correct cluster can have told it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal::sim::cluster::linear::{self, Effect, Operation, Verdict};

/// Time since the clients began.
pub type At = Duration;

/// A write that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Which object.
    pub key: String,
    /// What it holds since; no two writes have the same.
    pub value: u64,
    /// Its revision.
    pub revision: u64,
    /// When it was asked.
    pub from: At,
    /// When it was answered.
    pub to: At,
}

/// A change that a watch told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// At which revision.
    pub revision: u64,
    /// Of which object.
    pub key: String,
    /// What it holds since.
    pub value: u64,
}

/// What clients were told.
#[derive(Debug, Default)]
pub struct History {
    /// Reads and compare-and-swaps by object.
    pub operations: BTreeMap<String, Vec<Operation>>,
    /// Writes that were acknowledged.
    pub written: Vec<Written>,
    /// Values that somebody tried to write.
    pub tried: BTreeSet<u64>,
    /// The revision after which the watch begins.
    pub watched_from: u64,
    /// What it told.
    pub changes: Vec<Change>,
    /// How often it went on at another node.
    pub resumed: usize,
    /// Answers that no correct cluster gives.
    pub wrong: Vec<String>,
}

impl History {
    /// What is wrong with it.
    pub fn breaches(&self) -> Vec<String> {
        let mut found = self.wrong.clone();
        found.extend(self.operations.iter().filter_map(|(key, all)| match linear::check(all, linear::STEPS) {
            Verdict::Linearizable => None,
            verdict => {
                Some(format!("{key} of {} operations: {verdict:?}, among {:#?}", all.len(), around(all, &verdict)))
            }
        }));
        found.extend(self.revisions());
        found.extend(self.watch());
        found
    }

    /// A revision belongs to one write, and one that began after another's acknowledgement has a higher one.
    fn revisions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut by_revision = self.written.clone();
        by_revision.sort_by_key(|one| one.revision);
        let twice = by_revision.windows(2).filter(|pair| pair[0].revision == pair[1].revision);
        found.extend(twice.map(|pair| format!("one revision, two writes: {pair:?}")));
        // From the highest revision down: whatever was acknowledged before the earliest begin among those above is lower.
        let mut earliest: Option<&Written> = None;
        for one in by_revision.iter().rev() {
            if let Some(above) = earliest.filter(|above| above.to < one.from) {
                found.push(format!("{above:?} was acknowledged before {one:?} began, and has the higher revision"));
            }
            if earliest.is_none_or(|above| one.to < above.to) {
                earliest = Some(one);
            }
        }
        found
    }

    /// Every change once and in order, wherever the watch went on.
    fn watch(&self) -> Vec<String> {
        let mut found = Vec::new();
        let disorder = self.changes.windows(2).filter(|pair| pair[0].revision >= pair[1].revision);
        found.extend(disorder.map(|pair| format!("the watch told {pair:?}")));
        let told: BTreeSet<&Change> = self.changes.iter().collect();
        for one in self.written.iter().filter(|one| one.revision > self.watched_from) {
            let change = Change { revision: one.revision, key: one.key.clone(), value: one.value };
            if !told.contains(&change) {
                found.push(format!("the watch did not tell {change:?}"));
            }
        }
        let mut values = BTreeSet::new();
        for change in &self.changes {
            if !self.tried.contains(&change.value) || !values.insert(change.value) {
                found.push(format!("the watch told what was not written, or twice: {change:?}"));
            }
        }
        found
    }
}

/// What went on when an operation was under way that cannot be explained.
fn around(all: &[Operation], verdict: &Verdict) -> Vec<Operation> {
    let Verdict::Impossible(one) = verdict else { return Vec::new() };
    let to = one.to.unwrap_or(one.from);
    let meanwhile = |other: &&Operation| other.from <= to && other.to.is_none_or(|to| to >= one.from);
    all.iter().filter(meanwhile).copied().collect()
}

/// What the tests under load stand on: each kind of breach is found, and a history without one is not blamed.
#[test]
fn each_breach_is_found_in_a_history() {
    let at = Duration::from_secs;
    let swap = |from, to, expected, new| Operation {
        from: at(from),
        to: Some(at(to)),
        effect: Effect::Swap { expected: Some(expected), new },
    };
    let wrote = |value, revision, from, to| Written { key: "k".into(), value, revision, from: at(from), to: at(to) };
    let told = |revision, value| Change { revision, key: "k".into(), value };
    let first = Operation { from: at(0), to: Some(at(0)), effect: Effect::Write(Some(0)) };
    let good = || History {
        operations: BTreeMap::from([("k".into(), vec![first, swap(1, 2, 0, 1), swap(3, 4, 1, 2)])]),
        written: vec![wrote(1, 11, 1, 2), wrote(2, 12, 3, 4)],
        tried: BTreeSet::from([1, 2, 3]),
        watched_from: 10,
        changes: vec![told(11, 1), told(12, 2)],
        ..History::default()
    };
    let check = |spoil: &dyn Fn(&mut History), expect: usize| {
        let mut history = good();
        spoil(&mut history);
        assert_eq!(history.breaches().len(), expect, "{:?}", history.breaches());
    };
    check(&|_| {}, 0);
    let read = |value| Operation { from: at(5), to: Some(at(6)), effect: Effect::Read(Some(value)) };
    check(&|one| one.operations.get_mut("k").unwrap().push(read(2)), 0);
    check(&|one| one.operations.get_mut("k").unwrap().push(read(1)), 1);
    check(&|one| one.operations.get_mut("k").unwrap().push(swap(5, 6, 1, 3)), 1);
    check(&|one| one.written.push(wrote(2, 12, 3, 4)), 1);
    check(&|one| (one.written[0].revision, one.written[1].revision, one.watched_from) = (12, 11, 20), 1);
    check(&|one| drop(one.changes.pop()), 1);
    check(&|one| one.changes.push(told(12, 2)), 2);
    check(&|one| one.changes.push(told(13, 9)), 1);
    check(&|one| one.wrong.push("404".into()), 1);
}
