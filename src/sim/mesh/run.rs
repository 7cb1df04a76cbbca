//! A whole run: nodes join, a storm of faults, then all heals and must converge; then judgement.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};

use super::authority::Authorities;
use super::faults::Storm;
use super::fleet::{Fleet, Site};
use super::history::History;
use super::invariants;
use super::net::Counts;
use super::time::{At, Hand, NodeClock};
use super::workload::Shared;
use crate::sim::trace::Trace;
use crate::world::entropy::Rng;

/// Machines run for this long before the network delivers what they sent to each other.
const SLICE: Duration = Duration::from_millis(5);
/// How long after healing views are taken.
pub const CONVERGES_WITHIN: Duration = Duration::from_secs(60);
/// How long after healing nodes still change what they tell about themselves.
const QUIET_AFTER: Duration = Duration::from_secs(35);
/// How often the connections are counted once nodes are quiet.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Lines of the trace that a failure prints.
const TAIL: usize = 40;
/// Machines of a second cluster on the same network, which remember addresses of the first.
const STRANGERS: usize = 2;
/// How many nodes a cluster has.
pub const NODES: std::ops::RangeInclusive<usize> = 3..=9;

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// How many nodes; the seed decides where it is not said.
    pub nodes: Option<usize>,
    /// Virtual minutes with faults.
    pub minutes: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Lives of all their processes.
    pub lives: usize,
    /// Calls asked for.
    pub calls: usize,
    /// Of those, answered.
    pub answered: usize,
    /// Watches that ended.
    pub watches: usize,
    /// Changes in what nodes saw of each other.
    pub sights: usize,
    /// What the network did.
    pub net: Counts,
}

/// A run that broke an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which invariant, and where.
    pub what: String,
    /// The last lines of the trace.
    pub tail: String,
}

/// Runs, and gives the trace beside the outcome.
pub fn run(options: Options) -> (Result<Summary, Breach>, String) {
    let hand = Hand::default();
    let trace = Trace::new(Arc::new(hand.clone()));
    let mut rng = Rng::seed_from_u64(options.seed ^ 0x6d65_7368);
    let drawn = rng.random_range(NODES);
    let nodes = options.nodes.unwrap_or(drawn).clamp(*NODES.start(), *NODES.end());
    let shared = Shared::new(trace.clone());
    let sites = sites(nodes, &hand, &mut rng);
    let authorities = match Authorities::generate(2) {
        Ok(authorities) => authorities,
        Err(what) => return (Err(Breach { what, tail: String::new() }), String::new()),
    };
    let mut fleet = Fleet::new(options.seed, hand, shared.clone(), sites, authorities);
    let outcome = live(&mut fleet, options, nodes).and_then(|()| {
        let history = shared.history.lock();
        judge(&history)?;
        trace.note("all invariants hold");
        Ok(summary(&history, nodes, fleet.net.counts()))
    });
    fleet.end_all();
    let outcome = outcome.map_err(|what| Breach { tail: trace.tail(TAIL), what });
    (outcome, trace.text())
}

fn sites(nodes: usize, hand: &Hand, rng: &mut Rng) -> Vec<Site> {
    let mut clock =
        || NodeClock::new(hand.clone(), rng.random_range(-1_500_000..1_500_000), rng.random_range(-200..200));
    let mut sites: Vec<Site> = (0..nodes).map(|slot| Site::new(slot, &format!("n{slot}"), 0, clock())).collect();
    for nth in 0..STRANGERS {
        sites.push(Site::new(nodes + nth, &format!("other{nth}"), 1, clock()));
    }
    sites.push(Site::new(nodes + STRANGERS, "intruder", 0, clock()));
    let first: Vec<_> = sites.iter().take(3).map(|site| (site.name.clone(), site.at)).collect();
    for site in sites.iter_mut().filter(|site| site.cluster == 1) {
        site.remembered.extend(first.iter().cloned());
    }
    sites
}

fn live(fleet: &mut Fleet, options: Options, nodes: usize) -> Result<(), String> {
    let mut storm = Storm::new(options.seed, nodes, nodes + STRANGERS);
    fleet.found(0)?;
    fleet.found(nodes)?;
    storm.invite(fleet, options.minutes);
    let stormy = Duration::from_secs(options.minutes * 60);
    pass(fleet, &mut storm, stormy)?;
    storm.heal(fleet)?;
    pass(fleet, &mut storm, stormy + QUIET_AFTER)?;
    fleet.shared.be_quiet();
    pass(fleet, &mut storm, stormy + CONVERGES_WITHIN)?;
    fleet.look_for_the_last_time();
    Ok(())
}

/// Lets time pass until `to`.
fn pass(fleet: &mut Fleet, storm: &mut Storm, to: At) -> Result<(), String> {
    loop {
        let at = fleet.hand.at();
        if at >= to {
            return Ok(());
        }
        storm.act(fleet)?;
        fleet.drive(at, at + SLICE)?;
        let hand = fleet.hand.clone();
        fleet.net.step(at + SLICE, &hand);
        fleet.look();
        if fleet.shared.is_quiet() && at.as_millis() % COUNT_EVERY.as_millis() == 0 {
            let doubled = fleet.net.connections().into_iter().filter(|(_, count)| *count > 1);
            fleet.shared.history.lock().doubled.extend(doubled);
        }
    }
}

fn judge(history: &History) -> Result<(), String> {
    invariants::ALL
        .iter()
        .try_for_each(|one| (one.check)(history).map_err(|breach| format!("{}: {breach}\n  ({})", one.id, one.meaning)))
}

fn summary(history: &History, nodes: usize, net: Counts) -> Summary {
    use super::history::Outcome;
    let outcome = |wanted: fn(&Outcome) -> bool| {
        history.calls.values().filter(|call| call.ended.as_ref().is_some_and(|(_, outcome)| wanted(outcome))).count()
    };
    Summary {
        nodes,
        lives: history.lives.len(),
        calls: history.calls.len(),
        answered: outcome(|outcome| matches!(outcome, Outcome::Answered(..))),
        watches: history.watches.iter().filter(|watch| !watch.ended.is_empty()).count(),
        sights: history.sights.len(),
        net,
    }
}
