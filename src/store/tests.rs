//! The store as its users see it, on a real directory.

mod contacts;
mod learners;
mod net;
mod once;
mod recovery;
mod succession;
mod takeover;
mod voters;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng as _, SeedableRng};

use super::*;
use crate::model::{ResourceId, Scope};
use crate::world::World;
use crate::world::clock::SystemClock;
use crate::world::disk::real::RealDisk;
use crate::world::disk::sim::{Faults, SimDisk};
use crate::world::entropy::{Rng, SeededEntropy, SystemEntropy};

const PODS: ResourceId = ResourceId::new("", "pods");

fn world() -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) }
}

async fn open(dir: &Path) -> Store {
    for _ in 0..200 {
        match Store::open(StoreOptions::new(dir, "n1"), world()).await {
            Err(Error::Locked(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return other.unwrap(),
        }
    }
    panic!("the directory stays locked");
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(PODS, "default", name)
}

fn put(name: &str, expect: Expect) -> Txn {
    let value = Bytes::from_static(br#"{"resourceVersion":""}"#);
    Txn::one(Op { key: key(name), expect, action: Action::Put { value, splice: 20 } }, 7)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_readable_watched_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let start = store.revision();
    let mut watch = store.watch(Scope::resource(PODS, None), start).unwrap();
    let made = store.commit(put("a", Expect::Absent)).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.changes.len(), batch.revision), (1, made.revision));
    let value = format!(r#"{{"resourceVersion":"{}"}}"#, made.revision);
    assert_eq!(store.get(&key("a")).unwrap().value, value);
    let refused = store.commit(put("a", Expect::Absent)).await.unwrap_err();
    assert_eq!(refused, Error::Conflict { key: key("a"), actual: Some(made.revision) });
    assert!(matches!(Store::open(StoreOptions::new(dir.path(), "n1"), world()).await, Err(Error::Locked(_))));
    store.close().await;
    assert_eq!(store.commit(put("b", Expect::Any)).await.unwrap_err(), Error::Unavailable);
    let again = open(dir.path()).await;
    assert_eq!(again.get(&key("a")).unwrap().value, value);
    assert!(again.commit(put("b", Expect::Absent)).await.unwrap().revision > made.revision);
    let mut watch = again.watch(Scope::ALL, start).unwrap();
    let names: Vec<_> = watch.next().await.unwrap().changes.iter().map(|c| c.record.key.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
}

/// No two lives on a disk draw the same numbers.
fn simulated(disk: &SimDisk, seed: u64) -> World {
    let seed = seed + (disk.changes() << 20);
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SeededEntropy::new(seed)), disk: disk.boot() }
}

fn small(driver: Driver) -> StoreOptions {
    StoreOptions { driver, segment_bytes: 4096, ..StoreOptions::new("/data", "n1") }
}

/// What a client knows: every acknowledged write, and what it saw.
#[derive(Default)]
struct Client {
    revisions: Vec<Revision>,
    objects: std::collections::BTreeMap<String, Revision>,
    /// Keys whose last write was not answered: any of the two states is right.
    unsure: std::collections::BTreeSet<String>,
    compacted: Revision,
}

impl Client {
    async fn work(&mut self, store: &Store, rng: &mut Rng, steps: usize) {
        for _ in 0..steps {
            let name = rng.random_range(0..6).to_string();
            let mut txn = put(&name, Expect::Any);
            let known = self.objects.contains_key(&name) && !self.unsure.contains(&name);
            let deletes = known && rng.random_bool(0.3);
            if deletes {
                txn.ops[0].action = Action::Delete;
            }
            match store.commit(txn).await {
                Ok(Outcome { revision }) => {
                    assert!(self.revisions.last().is_none_or(|last| *last < revision), "{revision} was used before");
                    self.revisions.push(revision);
                    self.unsure.remove(&name);
                    match deletes {
                        true => drop(self.objects.remove(&name)),
                        false => drop(self.objects.insert(name, revision)),
                    }
                }
                Err(_) => {
                    self.unsure.insert(name);
                    return;
                }
            }
            if rng.random_bool(0.1) {
                let at = store.revision();
                self.compacted = self.compacted.max(Revision(at.0.saturating_sub(3)));
                let _ = store.compact(Revision(at.0.saturating_sub(3))).await;
            }
            if rng.random_bool(0.1) {
                let _ = store.snapshot().await;
            }
        }
    }

    async fn check(&self, store: &Store) {
        for name in (0..6).map(|n| n.to_string()).filter(|name| !self.unsure.contains(name)) {
            let found = store.get(&key(&name)).map(|record| record.modified);
            assert_eq!(found, self.objects.get(&name).copied(), "object {name}");
        }
        let oldest = Revision(store.stats().compacted);
        assert!(oldest <= self.compacted);
        let mut watch = store.watch(Scope::ALL, oldest).unwrap();
        let mut seen = Vec::new();
        while watch.revision() < store.revision() {
            match tokio::time::timeout(Duration::from_millis(20), watch.next()).await {
                Ok(batch) => seen.extend(batch.unwrap().changes.iter().map(|change| change.revision())),
                Err(_) => break,
            }
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "in order and once: {seen:?}");
        for revision in self.revisions.iter().filter(|revision| **revision > oldest) {
            assert!(seen.contains(revision), "the change at {revision} is missing in {seen:?}");
        }
    }
}

#[tokio::test]
async fn acknowledged_writes_and_watches_survive_power_loss_anywhere() {
    for seed in 0..150 {
        let mut rng = Rng::seed_from_u64(seed);
        let disk = SimDisk::new(seed);
        let mut client = Client::default();
        for life in 0..4 {
            disk.lose_power_after(rng.random_range(0..120));
            if life > 1 && rng.random_bool(0.3) {
                disk.set_faults(Faults { sync_fails: 0.05, ..Faults::default() });
            }
            match Store::open(small(Driver::Task), simulated(&disk, seed)).await {
                Ok(store) => {
                    client.check(&store).await;
                    client.work(&store, &mut rng, 60).await;
                }
                Err(error) => assert!(matches!(error, Error::Disk | Error::Unavailable), "seed {seed}: {error}"),
            }
            disk.set_faults(Faults::default());
            match rng.random_bool(0.7) {
                true => disk.crash(&mut rng),
                false => disk.kill(),
            }
        }
        let store = Store::open(small(Driver::Task), simulated(&disk, seed)).await;
        let store = store.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        client.check(&store).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_failed_sync_stops_the_store_and_a_full_disk_leaves_reads_and_deletes() {
    let disk = SimDisk::new(1);
    let store = Store::open(small(Driver::Task), simulated(&disk, 1)).await.unwrap();
    store.commit(put("a", Expect::Any)).await.unwrap();
    store.commit(put("b", Expect::Any)).await.unwrap();
    disk.set_faults(Faults { sync_fails: 1.0, ..Faults::default() });
    assert_eq!(store.commit(put("a", Expect::Any)).await, Err(Error::Disk));
    assert_eq!(store.failed().await, Error::Disk);
    assert_eq!(store.commit(put("b", Expect::Any)).await, Err(Error::Disk));
    drop(store);
    disk.crash(&mut Rng::seed_from_u64(1));
    disk.set_faults(Faults { ..Faults::default() });
    let options = StoreOptions { segment_bytes: 256 * 1024, ..small(Driver::Task) };
    let store = Store::open(options, simulated(&disk, 2)).await.unwrap();
    disk.set_faults(Faults { capacity: 600 * 1024, ..Faults::default() });
    let mut txn = put("fat", Expect::Any);
    txn.ops[0].action = Action::Put { value: vec![b' '; 50_000].into(), splice: 0 };
    while store.commit(txn.clone()).await.is_ok() {}
    assert_eq!(store.commit(txn.clone()).await, Err(Error::DiskFull));
    assert!(store.get(&key("a")).is_some() && store.stats().disk_full);
    txn.ops[0].action = Action::Delete;
    store.commit(txn).await.unwrap();
    disk.set_faults(Faults::default());
    let _ = store.commit(put("c", Expect::Any)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.commit(put("c", Expect::Any)).await.unwrap();
}

#[tokio::test]
async fn history_and_log_stay_within_their_bounds_and_an_idle_store_writes_nothing() {
    let disk = SimDisk::new(1);
    let options = StoreOptions {
        history_bytes: 20_000,
        snapshot_bytes: 30_000,
        history_age: Duration::from_secs(1),
        ..small(Driver::Task)
    };
    let store = Store::open(options.clone(), simulated(&disk, 1)).await.unwrap();
    for _ in 0..10 {
        for n in 0..40 {
            store.commit(put(&n.to_string(), Expect::Any)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let behind = store.watch(Scope::ALL, Revision(2));
    assert!(matches!(behind, Err(Error::Compacted { .. })));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stats = store.stats();
    assert!(stats.history_bytes <= 20_000 && stats.log_bytes < 60_000, "{stats:?}");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let (stats, changes) = (store.stats(), disk.changes());
    assert_eq!((stats.history_changes, stats.objects), (0, 40), "all of it is older than a second");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(disk.changes(), changes, "idle");
    drop(store);
    disk.kill();
    let again = Store::open(options, simulated(&disk, 1)).await.unwrap();
    assert_eq!(again.stats().objects, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_syncs_and_each_gets_a_revision_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(put(&n.to_string(), Expect::Absent)).await.unwrap().revision })
        })
        .collect();
    let mut revisions = std::collections::BTreeSet::new();
    for task in tasks {
        assert!(revisions.insert(task.await.unwrap()));
    }
    let syncs = store.stats().sync.count;
    assert!(syncs < 60, "{syncs} syncs for 64 commits");
    // Without close: what was acknowledged is on disk, whatever becomes of the process.
    drop(store);
    let again = open(dir.path()).await;
    assert_eq!(again.stats().objects, 64);
    assert_eq!(again.revision(), again.barrier().await.unwrap());
}

#[tokio::test]
async fn a_snapshot_installs_into_an_empty_store_with_its_history() {
    use openraft::storage::RaftStateMachine;

    let (full, empty) = (SimDisk::new(1), SimDisk::new(2));
    let store = Store::open(small(Driver::Task), simulated(&full, 1)).await.unwrap();
    for n in 0..20 {
        store.commit(put(&(n % 7).to_string(), Expect::Any)).await.unwrap();
    }
    store.compact(Revision(9)).await.unwrap();
    let sent = store.machine().get_current_snapshot().await.unwrap().unwrap();
    let target = Store::open(small(Driver::Task), simulated(&empty, 2)).await.unwrap();
    target.machine().install_snapshot(&sent.meta, sent.snapshot).await.unwrap();
    let all = |store: &Store| store.list(&Scope::ALL, Some(Revision(12)), None, 0).unwrap().records;
    assert_eq!(all(&store), all(&target));
    assert_eq!(store.stats().history_changes, target.stats().history_changes);
    assert_eq!(
        target.watch(Scope::ALL, Revision(9)).unwrap().next().await.unwrap().changes[0].revision(),
        Revision(10)
    );
    let mut table = table::ImageTable::open(empty.boot(), Path::new("/data/state")).unwrap();
    let kept = table::Table::load(&mut table).unwrap().unwrap();
    assert_eq!(kept.applied, store.revision(), "what was installed is durable");
}

#[tokio::test]
async fn a_damaged_state_and_a_foreign_file_are_refused_by_name() {
    let disk = SimDisk::new(1);
    let store = Store::open(small(Driver::Task), simulated(&disk, 1)).await.unwrap();
    store.commit(put("a", Expect::Any)).await.unwrap();
    store.snapshot().await.unwrap();
    let at = store.revision();
    store.close().await;
    let image = format!("/data/state/{:020}.image", at.0);
    let refused = async |path: &str| match Store::open(small(Driver::Task), simulated(&disk, 1)).await {
        Err(Error::Damaged(text)) => assert!(text.contains(path), "{text}"),
        other => panic!("{path}: {:?}", other.err()),
    };
    disk.flip(Path::new(&image), 30);
    refused(&image).await;
    disk.kill();
    disk.flip(Path::new(&image), 30);
    disk.boot().open(Path::new("/data/log/notes.txt"), true).unwrap();
    refused("notes.txt").await;
    disk.kill();
    disk.boot().remove(Path::new("/data/log/notes.txt")).unwrap();
    drop(Store::open(small(Driver::Task), simulated(&disk, 1)).await.unwrap());
    disk.kill();
    let boot = disk.boot();
    for segment in boot.list(Path::new("/data/log")).unwrap() {
        boot.remove(&segment).unwrap();
    }
    refused("/data/log").await;
}
