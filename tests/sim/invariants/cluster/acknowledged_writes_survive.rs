//! INV-C4: what was acknowledged is in the log for ever, and what the log says is what replicas hold.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::cluster::history::{Answer, Ask, Content, History, Operation};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C4 acknowledged-writes-survive",
    meaning: "An acknowledged write is what the log has at its revision, and at the end every replica holds what the log made.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.operations.iter().try_for_each(|operation| is_in_the_log(history, operation))?;
    let made = history.replayed();
    let made: BTreeMap<String, (u64, Option<u64>)> =
        made.into_iter().map(|(key, (revision, value))| (key.to_owned(), (revision, Some(value)))).collect();
    for (slot, replica) in &history.end.replicas {
        let keys = made.keys().chain(replica.objects.keys());
        if let Some(key) = keys.into_iter().find(|key| made.get(*key) != replica.objects.get(*key)) {
            let (has, should) = (replica.objects.get(key), made.get(key));
            if history.end.agreed.is_some() {
                return Err(format!("n{slot} holds {has:?} of {key}, the log made {should:?}"));
            }
        }
    }
    Ok(())
}

fn is_in_the_log(history: &History, operation: &Operation) -> Result<(), String> {
    let Some((_, Answer::Done(revision))) = operation.answer else { return Ok(()) };
    let value = match operation.ask {
        Ask::Write(value) => value,
        Ask::Swap { new, .. } => Some(new),
        Ask::Read => return Ok(()),
    };
    let entry = history.log.get(&revision).filter(|entry| entry.done);
    let holds = entry.is_some_and(|entry| match &entry.content {
        Content::Writes(puts, _) => puts.iter().any(|put| put.key == operation.key && put.value == value),
        _ => false,
    });
    if holds { Ok(()) } else { Err(format!("{operation:?} was acknowledged; the log has {entry:?} there")) }
}
