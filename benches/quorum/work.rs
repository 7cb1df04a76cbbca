//! What clients in a member's process do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shoal::model::{ObjectKey, ResourceId, Revision, Scope};
use shoal::store::{Action, Expect, Op, Store, Txn};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

use super::protocol::{Gap, Samples};
use crate::Failure;

/// Objects that each client writes in turn.
pub const KEYS: usize = 64;
/// The object that reads and watches are about.
const ONE: &str = "one";
/// Time between two changes that are watched.
pub const CHANGE_EVERY: Duration = Duration::from_millis(200);
/// A client that was given an error tries again after this.
pub const AGAIN_AFTER: Duration = Duration::from_millis(5);
/// Operations in a transaction while filling.
pub const BATCH: usize = 100;
/// Transactions at a time while filling.
const BATCHES: usize = 8;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(ResourceId::new("", "configmaps"), "bench", name)
}

fn put(name: &str, value: &Bytes) -> Op {
    Op { key: key(name), expect: Expect::Any, action: Action::Put { value: value.clone(), splice: 0 } }
}

/// Bytes that do not compress to nothing.
pub fn value(bytes: usize) -> Bytes {
    (0..bytes).map(|n| b' ' + (n * 31 % 89) as u8).collect()
}

/// Repeats `one` in `clients` tasks for a time.
pub async fn repeat<F, A>(clients: usize, millis: u64, one: F) -> Result<Samples, Failure>
where
    F: Fn(usize, usize) -> A + Clone + Send + 'static,
    A: Future<Output = Result<(), Failure>> + Send,
{
    let (started, run) = (Instant::now(), Duration::from_millis(millis));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let one = one.clone();
        tasks.spawn(async move {
            let mut micros = Vec::new();
            for n in 0.. {
                if started.elapsed() > run {
                    break;
                }
                let before = Instant::now();
                one(client, n).await?;
                micros.push(u32::try_from(before.elapsed().as_micros())?);
            }
            Ok::<_, Failure>(micros)
        });
    }
    let mut micros = Vec::new();
    while let Some(done) = tasks.join_next().await {
        micros.extend(done??);
    }
    Ok(Samples { micros, seconds: started.elapsed().as_secs_f64() })
}

pub async fn write(store: &Store, clients: usize, millis: u64, bytes: usize) -> Result<Samples, Failure> {
    let (store, value) = (store.clone(), value(bytes));
    repeat(clients, millis, move |client, n| {
        let (store, op) = (store.clone(), put(&format!("{client}-{}", n % KEYS), &value));
        async move { Ok(store.commit(Txn::one(op, 0)).await.map(drop)?) }
    })
    .await
}

pub async fn read(store: &Store, clients: usize, millis: u64) -> Result<Samples, Failure> {
    store.commit(Txn::one(put(ONE, &value(1024)), 0)).await?;
    let (store, one) = (store.clone(), key(ONE));
    repeat(clients, millis, move |_, _| {
        let (store, one) = (store.clone(), one.clone());
        async move {
            store.barrier().await?;
            store.get(&one).map(drop).ok_or_else(|| "it is gone".into())
        }
    })
    .await
}

/// Time from asking for a change until each watcher has it.
pub async fn watch(store: &Store, watchers: usize, changes: usize) -> Result<Samples, Failure> {
    let made = store.commit(Txn::one(put(ONE, &value(1024)), 0)).await?.revision;
    let ready = Arc::new(Barrier::new(watchers + 1));
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for _ in 0..watchers {
        let mut scope = Scope::resource(ResourceId::new("", "configmaps"), Some("bench"));
        scope.name = Some(ONE.into());
        let (mut watch, ready, seen) = (store.watch(scope, made)?, ready.clone(), seen.clone());
        tasks.spawn(async move {
            ready.wait().await;
            while let Ok(batch) = watch.next().await {
                for _ in batch.changes {
                    let _ = seen.send(Instant::now());
                }
            }
        });
    }
    ready.wait().await;
    let started = Instant::now();
    let mut micros = Vec::new();
    for _ in 0..changes {
        tokio::time::sleep(CHANGE_EVERY).await;
        let before = Instant::now();
        store.commit(Txn::one(put(ONE, &value(1024)), 0)).await?;
        for _ in 0..watchers {
            let at = sightings.recv().await.ok_or("the watchers ended")?;
            micros.push(u32::try_from(at.saturating_duration_since(before).as_micros())?);
        }
    }
    Ok(Samples { micros, seconds: started.elapsed().as_secs_f64() })
}

/// Writes that are tried again until they are acknowledged, each under a name of its own. What was acknowledged is noted.
pub async fn load(store: &Store, clients: usize, millis: u64, file: &Path) -> Result<Gap, Failure> {
    let run = format!("load-{:x}", store.revision().0);
    let (value, started) = (value(1024), Instant::now());
    let (acknowledged, acknowledgements) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (store, value, run, acknowledged) = (store.clone(), value.clone(), run.clone(), acknowledged.clone());
        tasks.spawn(async move {
            let (mut n, mut errors) = (0, 0);
            while started.elapsed() < Duration::from_millis(millis) {
                let name = format!("{run}-{client}-{n}");
                match store.commit(Txn::one(put(&name, &value), 0)).await {
                    Ok(outcome) => {
                        let _ = acknowledged.send((Instant::now(), name, outcome.revision));
                        n += 1;
                    }
                    Err(_) => {
                        errors += 1;
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            }
            errors
        });
    }
    drop(acknowledged);
    let errors = tasks.join_all().await.into_iter().sum();
    noted(acknowledgements, errors, started + Duration::from_millis(millis), file)
}

fn noted(
    mut acknowledgements: mpsc::UnboundedReceiver<(Instant, String, Revision)>,
    errors: usize,
    end: Instant,
    file: &Path,
) -> Result<Gap, Failure> {
    // Where nothing was acknowledged any more, the gap lasts to the end.
    let (mut names, mut times) = (BTreeMap::new(), vec![end]);
    while let Ok((at, name, revision)) = acknowledgements.try_recv() {
        times.push(at);
        names.insert(name, revision.0);
    }
    std::fs::write(file, serde_json::to_vec(&names)?)?;
    Ok(Gap { acknowledged: names.len(), errors, longest_micros: longest(times)? })
}

/// Longest time between two.
pub fn longest(mut times: Vec<Instant>) -> Result<u64, Failure> {
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
    Ok(u64::try_from(gaps.max().ok_or("nothing was acknowledged")?.as_micros())?)
}

/// Acknowledged writes of `file` that are not in this replica once it has caught up.
pub async fn missing(store: &Store, file: &Path) -> Result<usize, Failure> {
    store.barrier().await?;
    let names: BTreeMap<String, u64> = serde_json::from_slice(&std::fs::read(file)?)?;
    // An attempt that was taken for failed may have been made later: then the object is newer, never older.
    let here = |name: &str, revision: u64| store.get(&key(name)).is_some_and(|found| found.modified.0 >= revision);
    Ok(names.iter().filter(|(name, revision)| !here(name, **revision)).count())
}

pub async fn fill(store: &Store, objects: u64, bytes: usize) -> Result<(), Failure> {
    let value = value(bytes);
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let objects = usize::try_from(objects)?;
    for from in (0..objects).step_by(BATCH) {
        if tasks.len() >= BATCHES {
            tasks.join_next().await.ok_or("a batch is under way")???;
        }
        let ops = (from..(from + BATCH).min(objects)).map(|n| put(&format!("object-{n:08}"), &value)).collect();
        let store = store.clone();
        tasks.spawn(async move { Ok(store.commit(Txn { ops, ..Txn::default() }).await.map(drop)?) });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
