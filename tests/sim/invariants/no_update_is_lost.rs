//! INV-7: of two writes made from the same version, one loses and is told so.

use super::Invariant;
use crate::sim::history::{History, Outcome};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-7 no-update-is-lost",
    meaning: "A counter that users increment conditionally ends between the acknowledged and the possible increments.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let count =
        |wanted: fn(&Outcome) -> bool| history.increments.iter().filter(|outcome| wanted(outcome)).count() as u64;
    let acknowledged = count(|outcome| matches!(outcome, Outcome::Acknowledged(_)));
    let possible = acknowledged + count(|outcome| *outcome == Outcome::Unknown);
    let value = history.end.counter.unwrap_or(0);
    if (acknowledged..=possible).contains(&value) {
        return Ok(());
    }
    Err(format!("the counter ends at {value}; {acknowledged} increments were acknowledged, {possible} are possible"))
}
