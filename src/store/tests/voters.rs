//! Three voters: leaders that die, come back, are cut off, and hand over.

use super::net::{Net, eventually, level, objects};
use super::*;

pub async fn three(net: &Arc<Net>, disks: &[SimDisk]) -> Vec<Store> {
    let mut stores = vec![net.open(1, &disks[0]).await];
    for node in 2..=3 {
        stores.push(net.open(node, &disks[usize::try_from(node).unwrap() - 1]).await);
        stores[0].add_learner(node, &format!("n{node}")).await.unwrap();
        stores.last().unwrap().caught_up().await.unwrap();
        stores[0].promote(node).await.unwrap();
    }
    stores
}

pub fn disks(seed: u64) -> Vec<SimDisk> {
    (0..3).map(|n| SimDisk::new(seed * 10 + n)).collect()
}

pub fn leader_of<'a>(stores: impl IntoIterator<Item = &'a Store>) -> Option<Store> {
    stores.into_iter().find(|store| store.leads()).cloned()
}

#[tokio::test(start_paused = true)]
async fn another_voter_leads_when_the_leader_dies_and_no_acknowledged_write_is_lost() {
    for seed in 0..20 {
        let (net, disks) = (Net::new(seed), disks(seed));
        let mut rng = Rng::seed_from_u64(seed);
        let mut stores = three(&net, &disks).await;
        let mut acknowledged = std::collections::BTreeMap::new();
        for life in 0..4_u64 {
            let at = stores.iter().position(Store::leads).unwrap();
            disks[at].lose_power_after(rng.random_range(5..80));
            for n in 0..60 {
                let name = format!("{life}-{n}");
                // Through any node: who is not reached, or does not answer, may or may not have written.
                let through = &stores[rng.random_range(0..3)];
                if let Ok(made) = through.commit(put(&name, Expect::Absent)).await {
                    acknowledged.insert(name, made.revision);
                }
                if disks[at].is_dead() {
                    break;
                }
            }
            let node = u64::try_from(at).unwrap() + 1;
            net.take(&format!("n{node}"));
            disks[at].crash(&mut rng);
            let died = tokio::time::Instant::now();
            let others: Vec<Store> =
                stores.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, s)| s.clone()).collect();
            eventually("another leads", || leader_of(&others).is_some()).await;
            assert!(died.elapsed() < Duration::from_secs(3), "seed {seed}: {:?}", died.elapsed());
            let made = others[0].commit(put(&format!("{life}-after"), Expect::Absent)).await.unwrap();
            acknowledged.insert(format!("{life}-after"), made.revision);
            stores[at] = net.open(node, &disks[at]).await;
            stores[at].caught_up().await.unwrap();
        }
        let leader = leader_of(&stores).unwrap();
        for store in &stores {
            level(&leader, store).await;
            for (name, revision) in &acknowledged {
                let found = store.get(&key(name)).map(|record| record.modified);
                assert_eq!(found, Some(*revision), "seed {seed}, {name}");
            }
            assert_eq!(objects(store, leader.revision()), objects(&leader, leader.revision()), "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_comes_back_from_a_cut_does_not_disturb_the_leader() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    let term = stores[0].stats().term;
    net.cut("n3", "n1");
    net.cut("n3", "n2");
    tokio::time::sleep(Duration::from_secs(20)).await;
    stores[0].commit(put("a", Expect::Any)).await.unwrap();
    assert!(matches!(stores[2].commit(put("b", Expect::Any)).await, Err(Error::Unavailable | Error::NoQuorum { .. })));
    net.heal();
    level(&stores[0], &stores[2]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(stores[0].leads());
    assert_eq!(stores[0].stats().term, term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_follows_when_it_is_back() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    stores[0].commit(put("a", Expect::Any)).await.unwrap();
    net.cut("n1", "n2");
    net.cut("n1", "n3");
    assert!(matches!(
        stores[0].commit(put("lonely", Expect::Any)).await,
        Err(Error::Unavailable | Error::NoQuorum { .. })
    ));
    assert!(matches!(stores[0].barrier().await, Err(Error::Unavailable | Error::NoQuorum { .. })));
    let leader = leader_of(&stores[1..]).unwrap();
    leader.commit(put("b", Expect::Any)).await.unwrap();
    net.heal();
    eventually("the old leader follows", || !stores[0].leads() && stores[0].lost().is_none()).await;
    let made = stores[0].commit(put("c", Expect::Any)).await.unwrap();
    for store in &stores {
        store.applied(made.revision).await.unwrap();
        assert_eq!(store.get(&key("lonely")), None);
        assert!(store.get(&key("b")).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_hands_over_without_losing_time_and_can_be_demoted_then() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stores[0].demote(1).await, Err(Error::Invalid));
    assert_eq!(stores[0].hand_over(7).await, Err(Error::Invalid));
    let started = tokio::time::Instant::now();
    stores[0].hand_over(2).await.unwrap();
    eventually("the other leads", || stores[1].leads()).await;
    stores[1].commit(put("a", Expect::Any)).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    stores[1].demote(1).await.unwrap();
    stores[1].remove(1).await.unwrap();
    let standing = stores[1].members().iter().map(|replica| (replica.raft_id, replica.standing)).collect::<Vec<_>>();
    assert_eq!(standing, [(2, Standing::Leader), (3, Standing::Voter)]);
    stores[2].commit(put("b", Expect::Any)).await.unwrap();
}
