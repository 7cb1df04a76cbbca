//! INV-M1: a call is carried out once, or never; whatever is lost, sent again or restarted.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::mesh::history::{Execution, History};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M1 calls-run-at-most-once",
    meaning: "No call, cast or stream is begun twice, on whatever node.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut seen: BTreeMap<u64, &Execution> = BTreeMap::new();
    for execution in &history.executions {
        if let Some(first) = seen.insert(execution.call, execution) {
            return Err(format!("call {} is carried out twice: {first:?}, {execution:?}", execution.call));
        }
    }
    Ok(())
}
