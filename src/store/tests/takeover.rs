//! How long writes pause when a leader dies, goes, or has a disk that stalls, in virtual time.

use std::collections::BTreeMap;

use super::net::{Net, eventually};
use super::voters::{disks, leader_of, three};
use super::*;
use crate::store::disk::Health;

/// What writers through several nodes saw.
#[derive(Default)]
struct Seen {
    acknowledged: BTreeMap<String, Revision>,
    /// When writes were acknowledged.
    times: Vec<tokio::time::Instant>,
    errors: Vec<Error>,
}

type Shared = Arc<parking_lot::Mutex<Seen>>;

/// Starts `writers` that write through `store` one after the other, each key once.
fn load(store: &Store, name: &str, writers: usize, seen: &Shared) -> Vec<tokio::task::JoinHandle<()>> {
    let write = |writer: usize| {
        let (store, name, seen) = (store.clone(), name.to_owned(), seen.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let name = format!("{name}-{writer}-{n}");
                let result = store.commit(put(&name, Expect::Absent)).await;
                let mut seen = seen.lock();
                match result {
                    Ok(made) => {
                        seen.acknowledged.insert(name, made.revision);
                        seen.times.push(tokio::time::Instant::now());
                    }
                    Err(error) => seen.errors.push(error),
                }
            }
        })
    };
    (0..writers).map(write).collect()
}

fn usual(net: &Net, disks: &[SimDisk]) {
    *net.delay.lock() = Duration::from_micros(500);
    let takes = (Duration::from_millis(1), Duration::from_millis(4));
    disks.iter().for_each(|disk| disk.set_faults(Faults { sync_takes: takes, ..Faults::default() }));
}

/// Every acknowledged write is there, at its revision and once.
fn check(store: &Store, seen: &Seen, seed: u64) {
    assert_eq!(seen.errors, [], "seed {seed}");
    for (name, revision) in &seen.acknowledged {
        let found = store.get(&key(name)).map(|record| (record.created, record.modified));
        assert_eq!(found, Some((*revision, *revision)), "seed {seed}, {name}");
    }
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

#[tokio::test(start_paused = true)]
async fn writes_resume_soon_after_a_leader_is_killed_and_no_writer_elsewhere_sees_an_error() {
    let mut pauses = Vec::new();
    for seed in 0..50 {
        let (net, disks) = (Net::new(seed), disks(seed));
        let mut rng = Rng::seed_from_u64(seed);
        let mut stores = three(&net, &disks).await;
        usual(&net, &disks);
        let seen = Shared::default();
        let mut writers = load(&stores[1], "b", 2, &seen);
        writers.extend(load(&stores[2], "c", 2, &seen));
        tokio::time::sleep(Duration::from_millis(rng.random_range(400..700))).await;
        net.kill("n1");
        drop(stores.remove(0));
        disks[0].kill();
        let killed = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        let seen = std::mem::take(&mut *seen.lock());
        let next = seen.times.iter().find(|at| **at > killed + Duration::from_millis(20)).expect("writes go on");
        pauses.push(next.duration_since(killed));
        let leader = leader_of(&stores).unwrap();
        leader.barrier().await.unwrap();
        check(&leader, &seen, seed);
    }
    pauses.sort_unstable();
    let figures = [50, 99, 100].map(|percent| quantile(&pauses, percent));
    println!("from the kill to the next acknowledged write: p50, p99, max {figures:?}");
    assert!(figures[1] <= Duration::from_millis(600), "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_planned_hand_over_under_load_takes_less_than_50_ms_and_nobody_sees_an_error() {
    let mut pauses = Vec::new();
    for seed in 0..30 {
        let (net, disks) = (Net::new(seed), disks(seed));
        let stores = three(&net, &disks).await;
        usual(&net, &disks);
        let seen = Shared::default();
        let mut writers = Vec::new();
        for (store, name) in stores.iter().zip(["a", "b", "c"]) {
            writers.extend(load(store, name, 10, &seen));
        }
        tokio::time::sleep(Duration::from_millis(1_000 + seed)).await;
        let started = tokio::time::Instant::now();
        stores[0].step_aside().await;
        assert!(!stores[0].leads(), "seed {seed}");
        assert!(started.elapsed() <= Duration::from_millis(50), "seed {seed}: {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        let seen = std::mem::take(&mut *seen.lock());
        let gaps = seen.times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        pauses.push(gaps.max().unwrap());
        let leader = leader_of(&stores).unwrap();
        leader.barrier().await.unwrap();
        check(&leader, &seen, seed);
    }
    pauses.sort_unstable();
    let figures = [50, 99, 100].map(|percent| quantile(&pauses, percent));
    println!("longest pause of writes around a hand-over: p50, p99, max {figures:?}");
    assert!(figures[2] <= Duration::from_millis(50), "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_disk_stalls_hands_over_to_a_voter_with_a_healthy_one() {
    for seed in 0..10 {
        let (net, disks) = (Net::new(seed), disks(seed));
        let stores = three(&net, &disks).await;
        usual(&net, &disks);
        let bound = Duration::from_millis(500);
        let early = tokio::time::timeout(Duration::from_secs(5), stores[0].leads_with_bad_disk(bound)).await;
        assert!(early.is_err(), "a healthy disk is no reason");
        let seen = Shared::default();
        let writers = load(&stores[1], "b", 4, &seen);
        let stall = |takes| Faults { sync_takes: (takes, takes), ..Faults::default() };
        // The nearer of the two others is hardly better.
        disks[1].set_faults(stall(Duration::from_millis(300)));
        disks[0].set_faults(stall(Duration::from_secs(20)));
        let stalled = tokio::time::Instant::now();
        let health = stores[0].leads_with_bad_disk(bound).await;
        assert_eq!(health, Health::Slow);
        let _ = stores[0].relieve(bound, health).await;
        eventually("another leads", || leader_of(&stores[1..]).is_some()).await;
        println!("seed {seed}: another leads {:?} after the stall began", stalled.elapsed());
        assert!(stalled.elapsed() < Duration::from_secs(3), "{:?}", stalled.elapsed());
        tokio::time::sleep(Duration::from_secs(3)).await;
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        let seen = std::mem::take(&mut *seen.lock());
        assert!(seen.times.iter().any(|at| *at > stalled + Duration::from_secs(2)), "seed {seed}");
        check(&leader_of(&stores[1..]).unwrap(), &seen, seed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_closes_hands_over_first() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = tokio::time::Instant::now();
    stores[0].close().await;
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    assert!(leader_of(&stores[1..]).is_some());
    stores[2].commit(put("a", Expect::Any)).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
}
