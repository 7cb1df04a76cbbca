//! INV-M3: what a caller learns of its call is what has happened.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::mesh::history::{Execution, History, Kind, Outcome};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M3 outcomes-are-true",
    meaning: "What was answered was carried out; what could not be sent, was shed or was refused was not.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let done: BTreeMap<u64, &Execution> = history.executions.iter().map(|one| (one.call, one)).collect();
    for (id, call) in &history.calls {
        let Some((at, outcome)) = &call.ended else { continue };
        let on = done.get(id);
        let problem = match outcome {
            Outcome::Answered(_, by) => match on {
                None => Some("answered, but never carried out"),
                Some(on) if call.kind != Kind::Stream && on.on != *by => Some("carried out by another than says so"),
                Some(_) => None,
            },
            Outcome::Unreachable | Outcome::Shed | Outcome::Refused(_) if on.is_some() => {
                Some("told as never sent or refused, but was carried out")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(format!(
                "call {id} ({:?} to {}), ended at {at:?} as {outcome:?}: {problem}",
                call.kind, call.to
            ));
        }
    }
    Ok(())
}
