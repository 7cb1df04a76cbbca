//! Revisions of acknowledged writes: no two have the same, and they follow time.

use std::collections::BTreeMap;

use super::Verdict;
use super::objects::name;
use crate::cli::chaos::history::{History, Request};

/// The checks.
pub fn verdicts(history: &History) -> Vec<Verdict> {
    let writes: Vec<(&Request, u64)> = history
        .requests
        .iter()
        .filter(|request| request.kind.writes())
        .filter_map(|request| Some((request, request.revision()?)))
        .collect();
    vec![unique(&writes), ordered(&writes)]
}

fn unique(writes: &[(&Request, u64)]) -> Verdict {
    let mut verdict = Verdict::new("no two writes have the same revision");
    let mut known: BTreeMap<u64, &Request> = BTreeMap::new();
    for (request, revision) in writes {
        let other = known.insert(*revision, request);
        verdict.demand(other.is_none(), || {
            let other = other.map(name).unwrap_or_default();
            format!("revision {revision}: {}, and {other}", name(request))
        });
    }
    verdict
}

/// A write that begins after another was acknowledged has the higher revision.
fn ordered(writes: &[(&Request, u64)]) -> Verdict {
    let mut verdict = Verdict::new("revisions follow the order of acknowledgements");
    let mut by_begin = writes.to_vec();
    by_begin.sort_by_key(|(request, _)| request.began);
    let mut by_end = writes.to_vec();
    by_end.sort_by_key(|(request, _)| request.ended);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(&Request, u64)> = None;
    for (request, revision) in by_begin {
        while let Some(before) = ended.next_if(|(before, _)| before.ended < request.began) {
            highest = highest.filter(|(_, known)| *known > before.1).or(Some(before));
        }
        let late = highest.filter(|(_, known)| *known >= revision);
        verdict.demand(late.is_none(), || {
            let (before, known) = late.map(|(before, known)| (name(before), known)).unwrap_or_default();
            format!("{} has revision {revision}, though {before} had {known} before it began", name(request))
        });
    }
    verdict
}
