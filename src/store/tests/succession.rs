//! What a new leader sends of a long log: what the others lack, not what they have.

use std::sync::atomic::Ordering;

use super::net::{Net, eventually, level, objects};
use super::voters::{disks, leader_of, three};
use super::*;

/// Writes of a log that is long beside what a leader asks for.
const LONG: usize = 3_000;

async fn write(store: &Store, name: &str, number: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..number {
        let (store, txn) = (store.clone(), put(&format!("{name}-{n}"), Expect::Absent));
        tasks.spawn(async move { store.commit(txn).await.map(drop) });
        if tasks.len() >= 64 {
            tasks.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    tasks.join_all().await.into_iter().for_each(|done| done.unwrap());
}

/// Entries that were sent while `work` went on.
async fn sent<T>(net: &Net, work: impl Future<Output = T>) -> (T, usize) {
    let before = net.entries.load(Ordering::Relaxed);
    let done = work.await;
    (done, net.entries.load(Ordering::Relaxed) - before)
}

async fn converged(stores: &[Store]) {
    let leader = leader_of(stores).unwrap();
    leader.barrier().await.unwrap();
    for store in stores {
        level(&leader, store).await;
        assert_eq!(objects(store, leader.revision()), objects(&leader, leader.revision()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_sends_nothing_of_a_long_log_that_the_others_have() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    write(&stores[0], "a", LONG).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (from, to) in [(0, 2), (1, 3), (2, 1)] {
        let ((), entries) = sent(&net, async {
            stores[from].hand_over(to).await.unwrap();
            stores[(from + 2) % 3].commit(put(&format!("after-{to}-{from}"), Expect::Absent)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        })
        .await;
        assert!(entries <= 10, "two replicas were told of two new entries in {entries}");
    }
    converged(&stores).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_finds_what_a_replica_lacks_and_what_it_has_too_much() {
    for (seed, lacks) in [(1, 20), (2, 100), (3, 700)] {
        let (net, disks) = (Net::new(seed), disks(seed));
        let mut stores = three(&net, &disks).await;
        write(&stores[0], "a", LONG).await;
        // One voter misses some, and the leader has one that nobody else gets.
        net.cut("n1", "n3");
        write(&stores[0], "b", lacks).await;
        net.cut("n1", "n2");
        let lost = tokio::spawn({
            let store = stores[0].clone();
            async move { store.commit(put("lost", Expect::Absent)).await }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        let ((), entries) = sent(&net, async {
            let others = stores[1..].to_vec();
            eventually("another leads", || leader_of(&others).is_some()).await;
            others[1].commit(put("after", Expect::Absent)).await.unwrap();
            net.heal();
            drop(net.take("n1"));
            disks[0].crash(&mut Rng::seed_from_u64(seed));
            lost.abort();
            stores[0] = net.open(1, &disks[0]).await;
            stores[0].caught_up().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        })
        .await;
        // It is asked for four times as far back each time; each time in vain costs up to 64 entries.
        assert!(entries <= 4 * lacks + 600, "{lacks} were lacking, {entries} were sent");
        assert!(stores[0].get(&key("lost")).is_none());
        converged(&stores).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lacks_most_of_a_long_log_gets_all_of_it() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    net.cut("n1", "n3");
    net.cut("n2", "n3");
    write(&stores[0], "a", LONG).await;
    stores[0].hand_over(2).await.unwrap();
    net.heal();
    stores[1].commit(put("after", Expect::Absent)).await.unwrap();
    level(&stores[1], &stores[2]).await;
    converged(&stores).await;
}
