//! A whole run: nodes join, a storm of faults, then all heals and must converge; then judgement.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};

use super::fleet::Fleet;
use super::history::{Answer, History, Replica};
use super::invariants::{self, Invariant};
use super::linear;
use super::site::Site;
use super::storm::Storm;
use super::workload::followers::FOLLOWERS;
use super::workload::{Shared, Wanted};
use crate::model::NodeId;
use crate::sim::mesh::authority::Authorities;
use crate::sim::mesh::time::{At, Hand, NodeClock};
use crate::sim::nodes::body::Body;
use crate::sim::nodes::census;
use crate::sim::trace::Trace;
use crate::world::entropy::Rng;

/// Machines run for this long before the network delivers what they sent to each other.
const SLICE: Duration = Duration::from_millis(5);
/// The cluster has this long before anything goes wrong.
const GROWS: Duration = Duration::from_secs(6);
/// How long after healing users go on.
pub const USED_FOR: Duration = Duration::from_secs(25);
/// How long after healing all must agree at last.
pub const CONVERGES_WITHIN: Duration = Duration::from_secs(60);
/// How long after healing all sets must have their pods: a restarted container waits for up to five minutes.
const SETTLES_WITHIN: Duration = Duration::from_secs(400);
/// How often it is asked whether they do.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How far clocks are off at most where pods must not run twice; see `docs/CLUSTER.md`.
const CLOCKS_WRONG_US: i64 = 200_000;
/// Lines of the trace that a failure prints.
const TAIL: usize = 40;
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
    /// Whether whole nodes run, with pods, or only their stores.
    pub whole: bool,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Faults.
    pub faults: u32,
    /// Starts of all processes.
    pub lives: u64,
    /// Replicas that there ever were.
    pub replicas: u64,
    /// Times that somebody began to lead.
    pub reigns: usize,
    /// Entries of the log.
    pub entries: usize,
    /// Operations asked for.
    pub operations: usize,
    /// Of those, with an answer that says what happened.
    pub known: usize,
    /// Changes that watches delivered.
    pub events: usize,
    /// Keys whose history was too tangled to be judged within the bound.
    pub tangled: usize,
    /// Time that was simulated.
    pub simulated: Duration,
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
    let mut rng = Rng::seed_from_u64(options.seed ^ 0x0063_6c75_7374_6572);
    let drawn = rng.random_range(NODES);
    let nodes = options.nodes.unwrap_or(drawn).clamp(*NODES.start(), *NODES.end());
    let shared = Shared::new(trace.clone());
    let sites = match sites(&options, nodes, &hand, &mut rng) {
        Ok(sites) => sites,
        Err(what) => return (Err(Breach { what, tail: String::new() }), String::new()),
    };
    let mut fleet = Fleet::new(options.seed, hand, shared.clone(), sites);
    let mut storm = Storm::new(&options, nodes, GROWS);
    let lived = live(&mut fleet, &mut storm, options);
    let history = shared.history.lock();
    let outcome = judge(&history, lived).and_then(|()| {
        trace.note("all invariants hold");
        Ok(summary(&history, &fleet, storm.strikes))
    });
    drop(history);
    fleet.end_all();
    let outcome = outcome.map_err(|what| Breach { tail: trace.tail(TAIL), what });
    (outcome, trace.text())
}

fn sites(options: &Options, nodes: usize, hand: &Hand, rng: &mut Rng) -> Result<Vec<Site>, String> {
    let authorities = Authorities::generate(1)?;
    let wrong_us = if options.whole { CLOCKS_WRONG_US } else { 1_500_000 };
    let site = |slot: usize| {
        let (offset_us, drift_ppm) = (rng.random_range(-wrong_us..wrong_us), rng.random_range(-200..200));
        let clock = Arc::new(NodeClock::new(hand.clone(), offset_us, drift_ppm));
        let name = NodeId(format!("n{slot}").as_str().into());
        let papers = authorities.lasting_papers(&name, clock.clone())?;
        let mut site = Site::new(slot, options.seed, clock.clone(), papers);
        site.body = options.whole.then(|| Body::new(slot, options.seed ^ (slot as u64).rotate_left(32), clock));
        Ok(site)
    };
    (0..nodes).map(site).collect()
}

fn live(fleet: &mut Fleet, storm: &mut Storm, options: Options) -> Result<(), String> {
    let nodes = fleet.sites.len();
    *fleet.shared.followed_on.lock() = (0..FOLLOWERS).map(|number| number % nodes).collect();
    for slot in 0..nodes {
        let raft_id = fleet.next_replica();
        fleet.shared.wanted.lock().insert(slot, Wanted { raft_id, leaving: false });
    }
    for slot in 0..nodes {
        fleet.boot(slot)?;
    }
    let stormy = GROWS + Duration::from_secs(options.minutes * 60);
    pass(fleet, storm, stormy)?;
    storm.heal(fleet)?;
    pass(fleet, storm, stormy + USED_FOR)?;
    fleet.shared.be_quiet();
    let within = if options.whole { SETTLES_WITHIN } else { CONVERGES_WITHIN };
    converge(fleet, storm, stormy + within)
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
        for (slot, cause) in fleet.look() {
            storm.ended(fleet, slot, &cause);
        }
        if fleet.is_of_whole_nodes() {
            census::look(fleet);
        }
    }
}

/// Waits until all replicas are the same and every watch has delivered everything, for as long as that may take.
fn converge(fleet: &mut Fleet, storm: &mut Storm, until: At) -> Result<(), String> {
    loop {
        let next = fleet.hand.at() + ASK_EVERY;
        pass(fleet, storm, next)?;
        let nodes = fleet.sites.len();
        let replicas: Vec<(usize, Replica)> =
            (0..nodes).filter_map(|slot| Some((slot, fleet.replica(slot)?))).collect();
        let same = replicas.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b && a.leader.is_some()));
        let unsettled = if fleet.is_of_whole_nodes() { census::unsettled(fleet) } else { Vec::new() };
        let agreed = replicas.len() == nodes && same && fleet.is_whole() && delivered(&fleet.shared.history.lock());
        if (agreed && unsettled.is_empty()) || next >= until {
            let mut history = fleet.shared.history.lock();
            history.end.unsettled = unsettled;
            history.end.agreed = agreed.then_some(next);
            history.end.replicas = replicas.into_iter().collect();
            return Ok(());
        }
    }
}

/// Whether every watch has come to the last change.
fn delivered(history: &History) -> bool {
    let last = history.puts().last().map_or(0, |(revision, _)| revision);
    history.followers.iter().all(|followed| followed.reached.last().is_some_and(|reached| *reached >= last))
}

/// Where a run ended before its time, what must hold at any time tells why; only then what ended it.
fn judge(history: &History, lived: Result<(), String>) -> Result<(), String> {
    let check =
        |one: &Invariant| (one.check)(history).map_err(|breach| format!("{}: {breach}\n  ({})", one.id, one.meaning));
    invariants::ALWAYS.iter().try_for_each(check)?;
    lived?;
    invariants::AT_LAST.iter().try_for_each(check)
}

fn summary(history: &History, fleet: &Fleet, faults: u32) -> Summary {
    let known = |answer: &Answer| !matches!(answer, Answer::Unknown);
    let answers = history.operations.iter().filter_map(|operation| operation.answer.map(|(_, answer)| answer));
    Summary {
        nodes: fleet.sites.len(),
        faults,
        lives: fleet.sites.iter().map(|site| site.life).sum(),
        replicas: fleet.replicas,
        reigns: history.reigns.len(),
        entries: history.log.len(),
        operations: history.operations.len(),
        known: answers.filter(known).count(),
        events: history.followers.iter().map(|followed| followed.events.len()).sum(),
        tangled: linear::judge(history).tangled,
        simulated: fleet.hand.at(),
    }
}
