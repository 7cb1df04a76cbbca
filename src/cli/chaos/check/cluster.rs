//! The cluster as a whole: it served, had one leader a term, healed and converged, and the run was what it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::cli::chaos::history::History;

/// A run in which nothing was acknowledged shows nothing.
pub fn served(history: &History) -> Verdict {
    let mut verdict = Verdict::new("writes are acknowledged");
    let writes = history.requests.iter().filter(|request| request.kind.writes());
    verdict.examined = writes.clone().count();
    if !writes.clone().any(super::super::history::Request::done) {
        verdict.breach(|| "not one write was acknowledged".into());
    }
    verdict
}

/// No two nodes say of one term that another leads it.
pub fn one_leader_a_term(history: &History) -> Verdict {
    let mut verdict = Verdict::new("a term has one leader");
    let mut leaders: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for led in &history.led {
        if let Some(leader) = &led.leader {
            leaders.entry(led.term).or_default().insert(leader);
        }
    }
    for (term, leaders) in leaders {
        verdict.demand(leaders.len() == 1, || format!("term {term}: {leaders:?}"));
    }
    verdict
}

/// Every deployment has what was last asked for, on running pods.
pub fn deployments_converge(history: &History) -> Verdict {
    let mut verdict = Verdict::new("deployments converge");
    for deployment in &history.ending.deployments {
        let lacks = deployment.outcome.as_ref().err();
        verdict.demand(lacks.is_none(), || format!("{}: {}", deployment.key, lacks.cloned().unwrap_or_default()));
    }
    verdict
}

/// Once faults have ended, every node's API shows every node Ready.
pub fn heals(history: &History) -> Verdict {
    let mut verdict = Verdict::new("all nodes come back");
    match &history.ending.healed {
        Some(Ok(_)) => verdict.demand(true, String::new),
        Some(Err(lacks)) => verdict.demand(false, || lacks.clone()),
        None => verdict.demand(false, || "the run did not come to its end".into()),
    }
    verdict
}

/// Processes end only when they are killed.
pub fn nothing_ends_by_itself(history: &History) -> Verdict {
    let mut verdict = Verdict::new("no node's process ends by itself");
    verdict.examined = history.ending.listings.len();
    history.ending.deaths.iter().for_each(|death| verdict.breach(|| death.clone()));
    verdict
}

/// A damaged replica is not trusted: it begins anew under another number, and its node says so.
pub fn damage_is_mended(history: &History) -> Verdict {
    let mut verdict = Verdict::new("a damaged replica begins anew, and says so");
    for repair in &history.ending.repairs {
        let number = repair.after.map_or("none".into(), |after| after.to_string());
        verdict.demand(repair.is_done(), || match &repair.said {
            Some(_) => format!("{}: its number was {} and is {number}", repair.node, repair.before),
            None => format!("{}: it has said nothing; its number was {} and is {number}", repair.node, repair.before),
        });
    }
    verdict
}

/// A fault that was not carried out proves nothing.
pub fn faults_were_carried_out(history: &History) -> Verdict {
    let mut verdict = Verdict::new("every fault is carried out and undone");
    for fault in &history.faults {
        let name = || format!("{} {} at {} ms", fault.act.word(), fault.nodes.join(","), fault.began / 1000);
        let wrong = fault.said.as_ref().err();
        verdict.demand(wrong.is_none(), || format!("{}: {}", name(), wrong.cloned().unwrap_or_default()));
        let open = fault.act.lasts() && fault.ended.is_none();
        if open && wrong.is_none() {
            verdict.breach(|| format!("{}: it was not undone", name()));
        }
    }
    verdict
}
