//! A whole run: lives that end in crashes, then one without faults that must come to rest, then judgement.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};

use super::history::{Followed, History};
use super::home::Home;
use super::invariants;
use super::life::{End, WATCHED, live};
use super::trace::Trace;
use crate::world::disk::sim::Faults;
use crate::world::entropy::Rng;

/// Longest life between two crashes.
const LONGEST_LIFE: Duration = Duration::from_secs(90);
/// How long a healed cluster may take to come to rest, back-offs (5 minutes at most) included.
const REST_WITHIN: Duration = Duration::from_mins(45);
/// Lines of the trace that a failure prints.
const TAIL: usize = 40;

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Virtual minutes with faults.
    pub minutes: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Lives of the node.
    pub lives: u64,
    /// Writes asked for.
    pub writes: usize,
    /// Watch events seen.
    pub events: usize,
    /// Objects at the end.
    pub objects: usize,
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
    let cluster = Home::new(options.seed);
    let trace = Trace::new(cluster.clock.clone());
    let history = Arc::new(Mutex::new(History::default()));
    for (resource, _) in WATCHED {
        history.lock().watches.push(Followed { resource: (*resource).into(), ..Followed::default() });
    }
    let outcome = lives(&cluster, options, &history, &trace).and_then(|lives| {
        let history = history.lock();
        judge(&history)?;
        trace.note("all invariants hold");
        Ok(Summary {
            lives,
            writes: history.writes.values().map(Vec::len).sum::<usize>() + history.increments.len(),
            events: history.watches.iter().map(|watch| watch.events.len()).sum(),
            objects: history.end.objects.len(),
        })
    });
    let outcome = outcome.map_err(|what| Breach { tail: trace.tail(TAIL), what });
    (outcome, trace.text())
}

fn lives(cluster: &Home, options: Options, history: &Arc<Mutex<History>>, trace: &Trace) -> Result<u64, String> {
    let mut rng = Rng::seed_from_u64(options.seed ^ 0x5ea1_5ea1);
    let mut left = Duration::from_secs(options.minutes * 60);
    let mut nth = 0;
    while !left.is_zero() {
        let length = Duration::from_millis(rng.random_range(500..=millis(LONGEST_LIFE))).min(left);
        left -= length;
        cluster.set_faults(faults(&mut rng));
        live(cluster, history, trace, nth, End::Crash(length))?;
        crash(cluster, &mut rng, trace);
        nth += 1;
    }
    cluster.set_faults(Faults::default());
    live(cluster, history, trace, nth, End::Converge(REST_WITHIN))?;
    Ok(nth + 1)
}

/// Most lives have a slow disk, some one whose syncs fail. A disk that lies is not survivable and not simulated here.
fn faults(rng: &mut Rng) -> Faults {
    let slowest = rng.random_range(1..40);
    Faults {
        sync_fails: if rng.random_bool(0.25) { 0.002 } else { 0.0 },
        sync_takes: (Duration::from_micros(100), Duration::from_millis(slowest)),
        ..Faults::default()
    }
}

/// One in three is `kill -9` of the process, one loses power, one takes the containers along (a reboot).
fn crash(cluster: &Home, rng: &mut Rng, trace: &Trace) {
    match rng.random_range(0..3) {
        0 => {
            trace.note("kill -9");
            cluster.disk.kill();
        }
        1 => {
            trace.note("kill -9, and what was not synced is lost");
            cluster.disk.crash(rng);
        }
        _ => {
            trace.note("power loss");
            cluster.disk.crash(rng);
            cluster.machine.reboot();
        }
    }
}

fn judge(history: &History) -> Result<(), String> {
    invariants::ALL
        .iter()
        .try_for_each(|one| (one.check)(history).map_err(|breach| format!("{}: {breach}\n  ({})", one.id, one.meaning)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
