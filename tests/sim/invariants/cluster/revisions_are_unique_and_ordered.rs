//! INV-C5: a revision names one write, and later writes have higher ones.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::cluster::history::{Answer, History, Operation};
use crate::sim::mesh::time::At;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C5 revisions-are-unique-and-ordered",
    meaning: "No two writes are given the same revision, and one that began after another was answered gets a higher one.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut given: BTreeMap<u64, &Operation> = BTreeMap::new();
    let mut answered: Vec<(At, u64)> = Vec::new();
    let mut asked: Vec<(At, u64)> = Vec::new();
    for operation in &history.operations {
        let Some((at, Answer::Done(revision))) = operation.answer else { continue };
        if let Some(other) = given.insert(revision, operation) {
            return Err(format!("revision {revision} was given to {other:?} and to {operation:?}"));
        }
        answered.push((at, revision));
        asked.push((operation.from, revision));
    }
    answered.sort_unstable();
    asked.sort_unstable();
    let (mut before, mut highest) = (answered.iter().peekable(), 0);
    for (from, revision) in asked {
        while let Some((_, earlier)) = before.next_if(|(at, _)| *at < from) {
            highest = highest.max(*earlier);
        }
        if revision < highest {
            return Err(format!("a write got revision {revision} after one had been given {highest}"));
        }
    }
    Ok(())
}
