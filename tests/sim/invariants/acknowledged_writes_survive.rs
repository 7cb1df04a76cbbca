//! INV-1: what was acknowledged is there, whatever crashed.

use super::Invariant;
use crate::sim::history::{History, Outcome, Read, Write};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-1 acknowledged-writes-survive",
    meaning: "A key reads as its last acknowledged write, or as a later one whose outcome is unknown; never as older.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.reads.iter().try_for_each(|read| {
        let writes = history.writes.get(&read.key).map_or(&[][..], Vec::as_slice);
        judge(read, writes.get(..read.after_writes).unwrap_or(writes))
    })
}

fn judge(read: &Read, writes: &[Write]) -> Result<(), String> {
    let last = writes.iter().rposition(|write| matches!(write.outcome, Outcome::Acknowledged(_)));
    let unknown = |write: &&Write| write.outcome == Outcome::Unknown;
    let later = writes.get(last.map_or(0, |last| last + 1)..).unwrap_or_default().iter().filter(unknown);
    let settled = last.and_then(|last| writes.get(last)).and_then(|write| write.value.clone());
    let mut allowed: Vec<Option<String>> = vec![settled];
    allowed.extend(later.map(|write| write.value.clone()));
    if allowed.contains(&read.value) {
        return Ok(());
    }
    Err(format!("{} reads {:?}; allowed after {} writes: {allowed:?}", read.key, read.value, writes.len()))
}
