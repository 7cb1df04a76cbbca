//! Without a quorum: stale reads, quick refusals; and a new beginning with one replica.

use std::collections::BTreeMap;

use super::net::{Net, eventually, level, objects, options};
use super::voters::{disks, leader_of, three};
use super::*;
use crate::store::recovery::{Rebuild, rebuild};

/// Makes `node` the only voter, as `shoal recover` does on its stopped store.
fn recover(node: u64, disk: &SimDisk, learners: &[u64], (term, recovery): (u64, u64)) -> Result<Revision, Error> {
    let learners = learners.iter().map(|id| (*id, format!("n{id}"))).collect::<BTreeMap<_, _>>();
    rebuild(&options(node), &Rebuild { term, recovery, learners }, &simulated(disk, node))
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_reads_are_stale_and_quick_and_writes_say_who_is_missing() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    let made = stores[2].commit(put("a", Expect::Any)).await.unwrap();
    assert!(matches!(stores[2].refresh().await, Ok(Freshness::Newest(_))));
    net.take("n1");
    net.take("n2");
    let began = tokio::time::Instant::now();
    let Ok(Freshness::Stale(first)) = stores[2].refresh().await else { panic!("there is no quorum") };
    assert!(
        began.elapsed() <= LOST_AFTER + Duration::from_millis(1)
            && first.lasts <= began.elapsed() + Duration::from_secs(1)
            && !first.since_start
    );
    // The loss is known now: nobody waits again.
    let again = tokio::time::Instant::now();
    let Ok(Freshness::Stale(later)) = stores[2].refresh().await else { panic!("there is no quorum") };
    assert_eq!((again.elapsed(), stores[2].get(&key("a")).unwrap().modified), (Duration::ZERO, made.revision));
    assert!(later.lasts >= first.lasts);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = stores[2].commit(put("b", Expect::Any)).await.unwrap_err();
    assert_eq!(refused, Error::NoQuorum { reachable: 1, voters: 3, unknown: false });
    assert!(again.elapsed() < Duration::from_secs(6), "a write waits a moment only");
    assert!(refused.to_string().starts_with("no quorum: 1 of 3 voters are reachable"), "{refused}");
    assert_eq!(stores[2].barrier().await, Err(refused));
}

#[tokio::test(start_paused = true)]
async fn a_voter_notices_the_loss_without_a_read_and_its_end_within_a_second() {
    let (net, disks) = (Net::new(1), disks(1));
    let stores = three(&net, &disks).await;
    let mut watch = stores[1].watch(Scope::ALL, stores[1].revision()).unwrap();
    for other in [2, 3] {
        net.cut("n1", &format!("n{other}"));
    }
    net.cut("n2", "n3");
    tokio::time::sleep(Duration::from_secs(4)).await;
    for store in &stores {
        assert!(store.lost().is_some(), "{:?}", store.role());
        let began = tokio::time::Instant::now();
        assert!(matches!(store.refresh().await, Ok(Freshness::Stale(_))));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(matches!(store.commit(put("a", Expect::Any)).await, Err(Error::NoQuorum { reachable: 1, .. })));
    }
    net.heal();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let leader = leader_of(&stores).unwrap();
    let made = leader.commit(put("b", Expect::Any)).await.unwrap();
    for store in &stores {
        assert!(store.lost().is_none());
        assert!(matches!(store.refresh().await, Ok(Freshness::Newest(revision)) if revision >= made.revision));
    }
    // A watch that was open all the time goes on where it was.
    let batch = tokio::time::timeout(Duration::from_secs(1), watch.next()).await.unwrap().unwrap();
    assert_eq!(batch.changes.iter().map(|change| change.record.key.clone()).collect::<Vec<_>>(), [key("b")]);
}

#[tokio::test(start_paused = true)]
async fn one_survivor_of_three_is_made_the_only_voter_and_keeps_all_that_was_acknowledged() {
    for survivor in [1, 3] {
        let (net, disks) = (Net::new(survivor), disks(survivor));
        let stores = three(&net, &disks).await;
        for n in 0..20 {
            stores[0].commit(put(&n.to_string(), Expect::Any)).await.unwrap();
        }
        level(&stores[0], &stores[2]).await;
        let kept = stores[2].revision();
        let before = objects(&stores[2], kept);
        let at = usize::try_from(survivor).unwrap() - 1;
        let survey = stores[at].survey().await;
        assert!(survey.member && survey.votes && survey.others.iter().all(|other| other.end.is_some()));
        for node in 1..=3 {
            net.take(&format!("n{node}")).unwrap().close().await;
        }
        let last = recover(survivor, &disks[at], &[], (survey.own.term + 1, 1)).unwrap();
        assert_eq!(
            recover(survivor, &disks[at], &[], (survey.own.term + 1, 1)).map(|_| ()),
            Ok(()),
            "it can be repeated"
        );
        assert!(last >= kept);
        let store = net.open(survivor, &disks[at]).await;
        assert!(store.leads() && store.members().len() == 1);
        assert_eq!(objects(&store, kept), before);
        store.commit(put("after", Expect::Absent)).await.unwrap();
        assert_eq!(store.survey().await.own.recovery, 1);
        // It survives its own restart.
        net.take(&format!("n{survivor}")).unwrap().close().await;
        let store = net.open(survivor, &disks[at]).await;
        assert!(store.leads() && store.get(&key("after")).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_leaves_the_log_as_it_was_or_recovered() {
    let mut outcomes = BTreeMap::new();
    for cut in 0..25 {
        let (net, disks) = (Net::new(cut), disks(cut));
        let stores = three(&net, &disks).await;
        stores[0].commit(put("a", Expect::Any)).await.unwrap();
        level(&stores[0], &stores[1]).await;
        let term = stores[1].stats().term;
        for node in 1..=3 {
            net.take(&format!("n{node}")).unwrap().close().await;
        }
        disks[1].lose_power_after(cut);
        let made = recover(2, &disks[1], &[], (term + 1, 1)).is_ok();
        disks[1].crash(&mut Rng::seed_from_u64(cut));
        let found = net.open(2, &disks[1]).await;
        assert!(found.get(&key("a")).is_some() || !found.leads(), "cut {cut}");
        let recovered = found.members().len() == 1;
        assert!(recovered || !made, "cut {cut}: what was reported as made is there");
        *outcomes.entry(recovered).or_insert(0) += 1;
        if !recovered {
            net.take("n2").unwrap().close().await;
            recover(2, &disks[1], &[], (term + 1, 1)).unwrap();
            assert!(net.open(2, &disks[1]).await.leads(), "cut {cut}");
        }
    }
    assert_eq!(outcomes.len(), 2, "both happened: {outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn voters_that_were_given_up_learn_it_and_never_lead_while_they_see_who_went_on() {
    let (net, disks) = (Net::new(5), disks(5));
    let stores = three(&net, &disks).await;
    let term = stores[2].stats().term;
    for node in 1..=3 {
        net.take(&format!("n{node}")).unwrap().close().await;
    }
    recover(3, &disks[2], &[], (term + 1, 1)).unwrap();
    let survivor = net.open(3, &disks[2]).await;
    survivor.commit(put("after", Expect::Absent)).await.unwrap();
    for node in [1, 2] {
        let back = net.open(node, &disks[usize::try_from(node).unwrap() - 1]).await;
        let by = tokio::time::timeout(Duration::from_secs(30), back.removed()).await;
        assert_eq!(by.as_deref(), Ok("n3"), "n{node}");
        assert!(!back.leads());
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(survivor.leads() && !net.stores_of("n1").leads() && !net.stores_of("n2").leads());
    survivor.commit(put("still", Expect::Absent)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reachable_survivor_goes_on_as_a_learner_and_takes_nothing_from_the_old_cluster() {
    let (net, disks) = (Net::new(6), disks(6));
    let stores = three(&net, &disks).await;
    stores[0].commit(put("a", Expect::Any)).await.unwrap();
    level(&stores[0], &stores[2]).await;
    let term = stores[2].stats().term;
    for node in 1..=3 {
        net.take(&format!("n{node}")).unwrap().close().await;
    }
    recover(3, &disks[2], &[2], (term + 1, 1)).unwrap();
    let survivor = net.open(3, &disks[2]).await;
    let follower = net.open(2, &disks[1]).await;
    let made = survivor.commit(put("after", Expect::Absent)).await.unwrap();
    eventually("the follower follows", || follower.revision() >= made.revision).await;
    assert_eq!(follower.role(), Standing::Learner);
    // The third comes back with its old log and sees the follower alone: no vote, no entries.
    net.cut("n1", "n3");
    let back = net.open(1, &disks[0]).await;
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), back.removed()).await.as_deref(), Ok("n2"));
    assert!(!back.leads());
    survivor.promote(2).await.unwrap();
    assert_eq!(survivor.members().iter().filter(|one| one.standing != Standing::Learner).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_was_replaced_while_it_was_away_learns_that_too_and_a_slow_one_is_not_mistaken_for_it() {
    let (net, disks) = (Net::new(7), disks(7));
    let stores = three(&net, &disks).await;
    net.take("n3").unwrap().close().await;
    stores[0].remove(3).await.unwrap();
    stores[0].commit(put("a", Expect::Any)).await.unwrap();
    level(&stores[0], &stores[1]).await;
    let back = net.open(3, &disks[2]).await;
    assert!(tokio::time::timeout(Duration::from_secs(30), back.removed()).await.is_ok());
    for cut in ["n1", "n3"] {
        net.cut("n2", cut);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    net.heal();
    let mistaken = tokio::time::timeout(Duration::from_secs(10), net.stores_of("n2").removed()).await;
    assert!(mistaken.is_err(), "{mistaken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_follower_comes_back_whole_under_a_new_number() {
    let (net, disks) = (Net::new(8), disks(8));
    let stores = three(&net, &disks).await;
    for n in 0..30 {
        stores[0].commit(put(&n.to_string(), Expect::Any)).await.unwrap();
    }
    level(&stores[0], &stores[2]).await;
    net.take("n3").unwrap().close().await;
    let log = options(3).dir.join("log");
    let segment = disks[2].boot().list(&log).unwrap().into_iter().find(|path| path.extension().is_some()).unwrap();
    disks[2].kill();
    disks[2].flip(&segment, 90);
    let Err(Error::Damaged(what)) = net.try_open(options(3), simulated(&disks[2], 3)).await else { panic!("not seen") };
    assert!(what.contains(&segment.display().to_string()), "{what}");
    let leader = leader_of(&stores[..2]).unwrap();
    leader.remove(3).await.unwrap();
    leader.add_learner(33, "n3").await.unwrap();
    let fresh = SimDisk::new(99);
    let back = net.try_open(StoreOptions { raft_id: 33, ..options(3) }, simulated(&fresh, 3)).await.unwrap();
    back.caught_up().await.unwrap();
    assert_eq!(objects(&back, leader.revision()), objects(&leader, leader.revision()));
    leader.promote(33).await.unwrap();
    eventually("it votes", || back.role() == Standing::Voter).await;
}

/// Three voters whose segments hold more than the room that deletes are left.
async fn roomy(net: &Arc<Net>, disks: &[SimDisk]) -> Vec<Store> {
    let mut stores: Vec<Store> = Vec::new();
    for (disk, node) in disks.iter().zip(1..) {
        let options = StoreOptions { segment_bytes: 256 * 1024, ..options(node) };
        stores.push(net.try_open(options, simulated(disk, node)).await.unwrap());
        stores[0].add_learner(node, &format!("n{node}")).await.unwrap();
        stores[stores.len() - 1].caught_up().await.unwrap();
        stores[0].promote(node).await.unwrap();
    }
    stores
}

fn fat() -> Txn {
    let mut fat = put("fat", Expect::Any);
    fat.ops[0].action = Action::Put { value: vec![b' '; 50_000].into(), splice: 0 };
    fat
}

fn no_room() -> Faults {
    Faults { capacity: 1, ..Faults::default() }
}

#[tokio::test(start_paused = true)]
async fn a_full_follower_stops_nobody_and_a_full_leader_takes_deletes() {
    let (net, disks) = (Net::new(9), disks(9));
    let stores = roomy(&net, &disks).await;
    disks[2].set_faults(no_room());
    let mut fat = fat();
    for _ in 0..40 {
        stores[0].commit(fat.clone()).await.unwrap();
    }
    assert!(stores[0].leads() && stores[0].lost().is_none() && !stores[0].stats().disk_full);
    // The full one keeps what it has, and gets the rest once there is room.
    assert!(stores[2].failure().is_none() && stores[2].stats().disk_full);
    assert!(stores[2].revision() < stores[0].revision());
    disks[2].set_faults(Faults::default());
    eventually("it has everything", || stores[2].revision() == stores[0].revision()).await;
    disks[0].set_faults(no_room());
    while stores[0].commit(fat.clone()).await.is_ok() {}
    assert_eq!(stores[0].commit(fat.clone()).await, Err(Error::DiskFull));
    assert!(stores[0].stats().disk_full);
    fat.ops[0].action = Action::Delete;
    stores[0].commit(fat).await.unwrap();
    disks[0].set_faults(Faults::default());
    let _ = stores[0].commit(put("b", Expect::Any)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stores[0].commit(put("b", Expect::Any)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_leader_hands_over_where_a_majority_has_room_and_writes_go_on() {
    let (net, disks) = (Net::new(10), disks(10));
    let stores = roomy(&net, &disks).await;
    let relief = tokio::spawn({
        let store = stores[0].clone();
        async move { store.hand_over_when_unwell(Duration::from_secs(1)).await }
    });
    // Most have no room: the lead stays where deletes go on.
    disks[0].set_faults(no_room());
    disks[1].set_faults(no_room());
    while stores[0].commit(fat()).await.is_ok() {}
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(stores[0].leads());
    stores[0].commit(Txn::one(Op { key: key("fat"), expect: Expect::Any, action: Action::Delete }, 7)).await.unwrap();

    disks[1].set_faults(Faults::default());
    eventually("one that has room leads", || leader_of(&stores[1..]).is_some()).await;
    let leader = leader_of(&stores[1..]).unwrap();
    for _ in 0..40 {
        leader.commit(fat()).await.unwrap();
    }
    assert!(leader.leads());
    assert!(stores[0].failure().is_none() && stores[0].revision() < leader.revision(), "it waits for room");
    relief.abort();
    disks[0].set_faults(Faults::default());
    level(&leader, &stores[0]).await;
}
