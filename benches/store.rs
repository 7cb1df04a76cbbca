//! What a durable commit costs: bare `fdatasync`, our log, fjall, and the whole store, at 1, 10, 32 and 100 writers.
//!
//! `cargo bench --bench store` uses a directory below `target`, or the one named as its argument.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shoal::model::{ObjectKey, ResourceId};
use shoal::store::log::Log;
use shoal::store::log::frame::{Kind, Place, Record};
use shoal::store::{Action, Expect, Op, Store, StoreOptions, Txn};
use shoal::world::World;
use shoal::world::clock::SystemClock;
use shoal::world::disk::Disk;
use shoal::world::disk::real::RealDisk;
use shoal::world::entropy::SystemEntropy;

const RUN: Duration = Duration::from_secs(2);
const SEGMENT: u64 = 16 * 1024 * 1024;

fn main() {
    let named = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let base = named.map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    println!("{:<28} {:>7} {:>6} {:>12} {:>9} {:>9}", "what", "writers", "bytes", "commits/s", "p50 us", "p99 us");
    for (writers, size) in [(1, 1024), (10, 1024), (100, 1024), (1, 5120), (32, 5120), (100, 5120)] {
        let dir = base.join("bench-store");
        type Bench = fn(&Path, usize, usize) -> Vec<(Duration, usize)>;
        let benches: [(&str, Bench); 3] =
            [("bare write + fdatasync", bare), ("log", log), ("fjall batch, SyncAll", fjall)];
        for (name, bench) in benches {
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).expect("a directory for the bench");
            report(name, writers, size, bench(&dir, writers, size), RUN);
        }
        let _ = std::fs::remove_dir_all(&dir);
        let (samples, took) = whole(&dir, writers, size);
        report("store commit", writers, size, samples, took);
        let _ = std::fs::remove_dir_all(&dir);
    }
}

fn report(name: &str, writers: usize, size: usize, mut samples: Vec<(Duration, usize)>, took: Duration) {
    samples.sort_unstable();
    let commits: usize = samples.iter().map(|(_, count)| count).sum();
    let at = |quantile: usize| samples.get(samples.len() * quantile / 100).map_or(0, |(took, _)| took.as_micros());
    let rate = commits as f64 / took.as_secs_f64();
    println!("{name:<28} {writers:>7} {size:>6} {rate:>12.0} {:>9} {:>9}", at(50), at(99));
}

/// Repeats `round`, which commits `writers` entries at once.
fn rounds(writers: usize, mut round: impl FnMut(u64)) -> Vec<(Duration, usize)> {
    let mut samples = Vec::new();
    let started = Instant::now();
    for n in 0.. {
        if started.elapsed() > RUN {
            break;
        }
        let before = Instant::now();
        round(n);
        samples.push((before.elapsed(), writers));
    }
    samples
}

fn bare(dir: &Path, writers: usize, size: usize) -> Vec<(Duration, usize)> {
    let mut file = RealDisk.open(&dir.join("bare"), true).expect("a file");
    file.set_len(SEGMENT).expect("room");
    let bytes = vec![7; writers * size];
    let mut at = 0;
    rounds(writers, |_| {
        at = if at + bytes.len() as u64 > SEGMENT { 0 } else { at };
        file.write_at(at, &bytes).expect("a write");
        file.sync().expect("a sync");
        at += bytes.len() as u64;
    })
}

fn log(dir: &Path, writers: usize, size: usize) -> Vec<(Duration, usize)> {
    let mut log = Log::open(Arc::new(RealDisk), &dir.join("log"), SEGMENT, 7).expect("a log");
    let payload = Bytes::from(vec![7; size]);
    let mut index = 0;
    rounds(writers, |_| {
        let records: Vec<Record> = (0..writers as u64)
            .map(|n| Record {
                kind: Kind::Entry,
                place: Place { index: index + n, term: 1, leader: 1 },
                payload: payload.clone(),
            })
            .collect();
        index += writers as u64;
        log.append(&records, 0).expect("an append");
    })
}

fn fjall(dir: &Path, writers: usize, size: usize) -> Vec<(Duration, usize)> {
    let db = fjall::Database::builder(dir.join("fjall")).open().expect("a database");
    let space = db.keyspace("log", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
    let payload = vec![7; size];
    rounds(writers, |round| {
        let mut batch = db.batch().durability(Some(fjall::PersistMode::SyncAll));
        for n in 0..writers as u64 {
            batch.insert(&space, (round * writers as u64 + n).to_be_bytes(), payload.as_slice());
        }
        batch.commit().expect("a commit");
    })
}

/// `writers` tasks that commit one object after another, each its own.
fn whole(dir: &Path, writers: usize, size: usize) -> (Vec<(Duration, usize)>, Duration) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let world =
            World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) };
        let store = Store::open(StoreOptions::new(dir, "bench"), world).await.expect("a store");
        let started = Instant::now();
        let tasks: Vec<_> = (0..writers).map(|n| tokio::spawn(client(store.clone(), n, size, started))).collect();
        let mut samples = Vec::new();
        for task in tasks {
            samples.extend(task.await.expect("a client"));
        }
        let took = started.elapsed();
        store.close().await;
        (samples, took)
    })
}

async fn client(store: Store, client: usize, size: usize, started: Instant) -> Vec<(Duration, usize)> {
    let value = Bytes::from(vec![b' '; size]);
    let mut samples = Vec::new();
    for n in 0.. {
        if started.elapsed() > RUN {
            break;
        }
        let key = ObjectKey::new(ResourceId::new("", "pods"), "default", &format!("pod-{client}-{n}"));
        let action = Action::Put { value: value.clone(), splice: 0 };
        let before = Instant::now();
        store.commit(Txn::one(Op { key, expect: Expect::Absent, action }, 0)).await.expect("a commit");
        samples.push((before.elapsed(), 1));
    }
    samples
}
