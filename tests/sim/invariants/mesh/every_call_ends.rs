//! INV-M4: every call ends, within its deadline.

use std::time::Duration;

use super::Invariant;
use crate::sim::mesh::history::{Call, History, Kind};
use crate::sim::mesh::time::At;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M4 every-call-ends",
    meaning: "A caller that runs learns the outcome of its call by its deadline.",
    check,
};

/// How much later than the deadline a caller may learn: two slices of the simulator's time.
const SLACK: Duration = Duration::from_millis(20);
/// What the reading of a stream may take beyond its opening, and for how long a cast may wait for a connection.
const STREAM: Duration = Duration::from_secs(20);
const CAST: Duration = Duration::from_secs(15);

fn check(history: &History) -> Result<(), String> {
    history.calls.iter().try_for_each(|(id, call)| judge(history, *id, call))
}

fn judge(history: &History, id: u64, call: &Call) -> Result<(), String> {
    let limit = limit(history, call);
    let caller = history.life(&call.from).ok_or_else(|| format!("call {id} was asked by nobody"))?;
    // Who asked is gone, or the run was over.
    if caller.span.to.is_some_and(|end| end <= limit) || history.end.at <= limit {
        return Ok(());
    }
    match &call.ended {
        Some((at, _)) if *at <= limit => Ok(()),
        Some((at, outcome)) => {
            Err(format!("call {id}, asked at {:?} for {:?}, ended at {at:?} as {outcome:?}", call.asked, call.deadline))
        }
        None => Err(format!("call {id}, asked at {:?} for {:?}, never ended", call.asked, call.deadline)),
    }
}

/// By when a caller knows, stops and starvation of its machine included.
fn limit(history: &History, call: &Call) -> At {
    let allowed = match call.kind {
        Kind::Stream => call.deadline + STREAM,
        Kind::Cast => call.deadline + CAST,
        _ => call.deadline,
    } + SLACK;
    let Some(life) = history.life(&call.from) else { return call.asked + allowed };
    let mut limit = call.asked + allowed;
    let hindered = |limit: At| {
        let mine = history.troubles.iter().filter(|(slot, ..)| *slot == life.slot);
        let touching = mine.filter(|(_, _, span)| span.touches(call.asked, limit));
        touching.map(|(_, _, span)| span.to.map_or(At::MAX, |end| end + allowed)).max().unwrap_or(limit)
    };
    while hindered(limit) > limit {
        limit = hindered(limit);
    }
    limit
}
