//! One life of the node: from its start to the crash that ends it, on a runtime of its own that the crash drops.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::history::History;
use super::home::{Home, Started};
use super::trace::Trace;
use super::watcher;
use super::workload::{NAMESPACE, User, counter, deploy, fence, keys};
use crate::model::Scope;
use crate::world::entropy::Rng;

/// Users of each kind.
const WRITERS: u32 = 3;
const COUNTERS: u32 = 2;
const DEPLOYERS: u32 = 2;
/// What the watchers follow: two follow the same, so that they can be compared.
pub const WATCHED: &[(&str, &str)] =
    &[("configmaps", "/api/v1/configmaps"), ("configmaps", "/api/v1/configmaps"), ("pods", "/api/v1/pods")];

/// How a life is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this long, by a crash.
    Crash(Duration),
    /// By convergence: users stop, what is broken is mended, and all must come to rest within this long.
    Converge(Duration),
}

/// Lives until `end` on a fresh single-threaded runtime in virtual time, and leaves nothing running.
pub fn live(cluster: &Home, history: &Arc<Mutex<History>>, trace: &Trace, nth: u64, end: End) -> Result<(), String> {
    let runtime =
        builder(cluster.seed ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15)).build().map_err(|error| error.to_string())?;
    let result = runtime.block_on(async {
        cluster.clock.enter();
        let outcome = lead(cluster, history, trace, nth, end).await;
        cluster.clock.leave();
        outcome
    });
    // Dropping the runtime drops every task where it stands: that is the crash.
    drop(runtime);
    result
}

/// A single-threaded runtime in virtual time, whose choices `seed` decides.
#[cfg_attr(not(tokio_unstable), allow(unused_variables, reason = "without the flag a seed cannot be given"))]
pub fn builder(seed: u64) -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    builder
}

async fn lead(cluster: &Home, history: &Arc<Mutex<History>>, trace: &Trace, nth: u64, end: End) -> Result<(), String> {
    trace.note(format!("life {nth} begins, to end by {end:?}"));
    let length = match end {
        End::Crash(after) | End::Converge(after) => after,
    };
    let life = async {
        let Some(started) = cluster.start().await? else { return std::future::pending().await };
        let user = User {
            client: started.client.clone(),
            store: started.store.clone(),
            history: Arc::clone(history),
            trace: trace.clone(),
        };
        user.client.post("/api/v1/namespaces", json!({"metadata": {"name": NAMESPACE}})).await;
        keys::read_back(&user).await;
        let mut rng = Rng::seed_from_u64(cluster.seed.rotate_left(17) ^ nth);
        let watchers = follow(&user, &mut rng, matches!(end, End::Crash(_)));
        match end {
            End::Crash(_) => {
                let _users = (busy(&user, &mut rng), watchers);
                started.failed().await;
                trace.note("the node ended by itself");
                Ok(())
            }
            End::Converge(_) => tokio::select! {
                biased;
                () = started.failed() => Err("the node ended by itself on a sound disk".into()),
                result = converge(cluster, &user, &started, &watchers) => result,
            },
        }
    };
    match (tokio::time::timeout(length, life).await, end) {
        (Ok(result), _) => result,
        (Err(_), End::Crash(_)) => Ok(()),
        (Err(_), End::Converge(within)) => Err(format!("the cluster did not come to rest within {within:?}")),
    }
}

fn follow(user: &User, rng: &mut Rng, compacts: bool) -> tokio::task::JoinSet<()> {
    let mut watchers = tokio::task::JoinSet::new();
    for (index, (_, path)) in WATCHED.iter().enumerate() {
        watchers.spawn(watcher::follow(user.clone(), index, path, Rng::seed_from_u64(rng.random()), compacts));
    }
    watchers
}

fn busy(user: &User, rng: &mut Rng) -> tokio::task::JoinSet<()> {
    let mut users = tokio::task::JoinSet::new();
    let mut fork = || Rng::seed_from_u64(rng.random());
    for nth in 0..WRITERS {
        users.spawn(keys::write_for_ever(user.clone(), nth, fork()));
    }
    for _ in 0..COUNTERS {
        users.spawn(counter::count_for_ever(user.clone(), fork()));
    }
    users.spawn(fence::move_for_ever(user.clone(), fork()));
    for _ in 0..DEPLOYERS {
        users.spawn(deploy::deploy_for_ever(user.clone(), fork()));
    }
    users
}

/// Waits until nothing changes any more, and writes down how things stand.
async fn converge(
    cluster: &Home,
    user: &User,
    started: &Started,
    _watchers: &tokio::task::JoinSet<()>,
) -> Result<(), String> {
    deploy::mend(user).await;
    rest(user, started).await;
    // Watchers deliver what was committed before the list below.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let counter = counter::read(user).await;
    keys::read_back(user).await;
    let mut end = super::judge::end(&user.client, cluster).await?;
    end.counter = counter;
    user.history.lock().end = end;
    Ok(())
}

/// A cluster is at rest when no write has been made for a minute of virtual time. The caller bounds the wait.
async fn rest(user: &User, started: &Started) {
    const QUIET: Duration = Duration::from_mins(1);
    loop {
        let before = started.store.revision();
        tokio::time::sleep(QUIET).await;
        if started.store.revision() == before {
            return;
        }
        let late = started.store.list(&Scope::ALL, None, None, 0).map(|page| page.records).unwrap_or_default();
        for record in late.iter().filter(|record| record.modified > before) {
            user.trace.note(format!("still moving: {} at {}", record.key, record.modified));
        }
    }
}
