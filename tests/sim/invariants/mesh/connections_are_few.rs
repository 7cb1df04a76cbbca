//! INV-M14: at most one connection joins two nodes.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::mesh::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M14 connections-are-few",
    meaning: "After healing no two nodes keep two connections to each other.",
    check,
};

/// Looks in a row at which two nodes may be caught while they choose which of two connections to keep.
const PATIENCE: usize = 5;

fn check(history: &History) -> Result<(), String> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for (pair, _) in &history.doubled {
        *counts.entry(*pair).or_default() += 1;
    }
    match counts.into_iter().find(|(_, count)| *count > PATIENCE) {
        Some((pair, count)) => Err(format!("machines {pair:?} had several connections at {count} looks")),
        None => Ok(()),
    }
}
