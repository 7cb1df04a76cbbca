//! INV-M2: an answer is that of the call that it ends, from the node that was asked.

use super::Invariant;
use crate::sim::mesh::history::{Call, History, Kind, Outcome};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M2 answers-belong-to-their-calls",
    meaning: "An answer carries the number and the content of its own call, and comes from the node that was asked.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.calls.iter().try_for_each(|(id, call)| judge(history, *id, call))
}

fn judge(history: &History, id: u64, call: &Call) -> Result<(), String> {
    let Some((at, Outcome::Answered(answers, by))) = &call.ended else { return Ok(()) };
    if *answers != id || by.node != call.to {
        return Err(format!("call {id} to {} is answered at {at:?} with that of {answers} by {}", call.to, by.node));
    }
    // A stream tells only the name of its other end.
    if call.kind != Kind::Stream && history.life(by).is_none() {
        return Err(format!("call {id} is answered by a life that never was: {by:?}"));
    }
    Ok(())
}
