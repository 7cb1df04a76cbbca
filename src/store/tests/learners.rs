//! One voter and its learners.

use std::sync::atomic::Ordering;

use super::net::{Net, eventually, level, objects, options, pair};
use super::*;

fn disks() -> (SimDisk, SimDisk) {
    (SimDisk::new(1), SimDisk::new(2))
}

fn fat(name: &str, bytes: usize) -> Txn {
    let mut value = br#"{"resourceVersion":""}"#.to_vec();
    value.resize(bytes.max(value.len()), b' ');
    Txn::one(Op { key: key(name), expect: Expect::Any, action: Action::Put { value: value.into(), splice: 20 } }, 7)
}

async fn changes(watch: &mut Watch, upto: Revision) -> Vec<(ChangeKind, Arc<Record>)> {
    let mut seen = Vec::new();
    while watch.revision() < upto {
        let batch = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
        let Ok(batch) = batch else { break };
        seen.extend(batch.unwrap().changes.iter().map(|change| (change.kind, change.record.clone())));
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_learner_sees_every_change_exactly_once_in_order_at_the_same_revisions() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    let (mut here, mut there) =
        (leader.watch(Scope::ALL, Revision(0)).unwrap(), learner.watch(Scope::ALL, Revision(0)).unwrap());
    let reader = tokio::spawn(async move { changes(&mut there, Revision(320)).await });
    for n in 0..300_u32 {
        let mut txn = put(&(n % 7).to_string(), Expect::Any);
        if n % 5 == 4 {
            txn.ops[0].action = Action::Delete;
        }
        leader.commit(txn).await.unwrap();
    }
    level(&leader, &learner).await;
    let told = changes(&mut here, leader.revision()).await;
    reader.abort();
    let mut there = learner.watch(Scope::ALL, Revision(0)).unwrap();
    assert_eq!(changes(&mut there, learner.revision()).await, told);
    assert!(told.len() > 250);
    assert_eq!(objects(&leader, leader.revision()), objects(&learner, leader.revision()));
    assert_eq!(leader.role(), Standing::Leader);
    assert_eq!((learner.role(), learner.leader().as_deref()), (Standing::Learner, Some("n1")));
    let members = leader.members();
    assert_eq!(members.len(), 2);
    assert_eq!((members[1].standing, members[1].node.as_str()), (Standing::Learner, "n2"));
    assert_eq!(members[1].matched, members[0].matched);
}

#[tokio::test(start_paused = true)]
async fn a_write_through_a_learner_is_read_there_and_a_conflict_says_why() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    *net.delay.lock() = Duration::from_millis(3);
    for n in 0..20 {
        let made = learner.commit(put(&n.to_string(), Expect::Absent)).await.unwrap();
        assert_eq!(learner.get(&key(&n.to_string())).unwrap().modified, made.revision);
        assert_eq!(leader.get(&key(&n.to_string())).unwrap().modified, made.revision);
    }
    let made = leader.commit(put("0", Expect::Any)).await.unwrap();
    let refused = learner.commit(put("0", Expect::Absent)).await;
    assert_eq!(refused, Err(Error::Conflict { key: key("0"), actual: Some(made.revision) }));
    assert_eq!(learner.get(&key("0")).unwrap().modified, made.revision, "who was refused can see why");
    let mut fenced = put("1", Expect::Any);
    fenced.fence = Some(Fence { actor: "scheduler".into(), epoch: crate::model::Epoch(2) });
    learner.commit(fenced.clone()).await.unwrap();
    fenced.fence = Some(Fence { actor: "scheduler".into(), epoch: crate::model::Epoch(1) });
    assert_eq!(learner.commit(fenced).await, Err(Error::Fenced));
    learner.compact(made.revision).await.unwrap();
    level(&leader, &learner).await;
    assert_eq!(learner.stats().compacted, made.revision.0);
}

#[tokio::test(start_paused = true)]
async fn a_linearizable_read_through_a_learner_sees_what_was_acknowledged_and_many_share_a_question() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    *net.delay.lock() = Duration::from_millis(3);
    for _ in 0..10 {
        let made = leader.commit(put("a", Expect::Any)).await.unwrap();
        assert!(learner.barrier().await.unwrap() >= made.revision);
        assert_eq!(learner.get(&key("a")).unwrap().modified, made.revision);
    }
    let before = net.read_indexes.load(Ordering::Relaxed);
    let reads = (0..100).map(|_| learner.barrier());
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
    assert!(net.read_indexes.load(Ordering::Relaxed) - before <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_a_learner_within_its_own_sync_and_the_way_without_waiting_for_another() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    let slow = Faults { sync_takes: (Duration::from_millis(1), Duration::from_millis(1)), ..Faults::default() };
    disks.0.set_faults(slow.clone());
    disks.1.set_faults(slow);
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let made = leader.commit(put("a", Expect::Any)).await.unwrap();
        let at = tokio::time::Instant::now();
        learner.applied(made.revision).await.unwrap();
        worst = worst.max(at.elapsed());
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    assert!(worst <= Duration::from_millis(3), "{worst:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_leader_loses_with_its_power_no_learner_has_seen() {
    for cut in 0..70 {
        let (net, disks) = (Net::new(cut), (SimDisk::new(cut), SimDisk::new(1000 + cut)));
        let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
        let slow = Faults { sync_takes: (Duration::from_millis(1), Duration::from_millis(4)), ..Faults::default() };
        disks.0.set_faults(slow);
        disks.0.lose_power_after(cut);
        let writers = (0..5).map(|n| {
            let leader = leader.clone();
            tokio::spawn(async move { while leader.commit(put(&n.to_string(), Expect::Any)).await.is_ok() {} })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        net.take("n1");
        drop(leader);
        disks.0.crash(&mut Rng::seed_from_u64(cut));
        disks.0.set_faults(Faults::default());
        // What was under way to the learner arrives.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let seen = learner.revision();
        let before = objects(&learner, seen);
        let leader = net.open(1, &disks.0).await;
        let kept = leader.revision();
        assert!(seen < kept, "cut {cut}: the learner has seen {seen} of {kept}");
        assert_eq!(before, objects(&leader, seen), "cut {cut}");
        let made = leader.commit(put("after", Expect::Absent)).await.unwrap();
        learner.applied(made.revision).await.unwrap();
        assert_eq!(objects(&learner, made.revision), objects(&leader, made.revision), "cut {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_learner_comes_back_from_a_kill_and_from_a_power_cut_with_what_it_acknowledged() {
    for seed in 0..40 {
        let mut rng = Rng::seed_from_u64(seed);
        let (net, disks) = (Net::new(seed), (SimDisk::new(seed), SimDisk::new(1000 + seed)));
        let (leader, mut learner) = pair(&net, (&disks.0, &disks.1)).await;
        for life in 0..4 {
            disks.1.lose_power_after(rng.random_range(0..60));
            for n in 0..40 {
                leader.commit(put(&(n % 6).to_string(), Expect::Any)).await.unwrap();
                if rng.random_bool(0.05) {
                    leader.snapshot().await.unwrap();
                }
            }
            net.take("n2");
            drop(learner);
            match rng.random_bool(0.7) {
                true => disks.1.crash(&mut rng),
                false => disks.1.kill(),
            }
            learner = match net.try_open(options(2), simulated(&disks.1, seed)).await {
                Ok(learner) => learner,
                Err(error) => panic!("seed {seed}, life {life}: {error}"),
            };
            learner.caught_up().await.unwrap();
            let at = leader.revision();
            assert!(learner.revision() >= at, "seed {seed}, life {life}");
            assert_eq!(objects(&learner, at), objects(&leader, at), "seed {seed}, life {life}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_learner_far_behind_gets_the_state_in_chunks() {
    let (net, disks) = (Net::new(1), disks());
    let big = |node| StoreOptions { segment_bytes: 1024 * 1024, ..options(node) };
    let leader = net.try_open(big(1), simulated(&disks.0, 1)).await.unwrap();
    for n in 0..45 {
        leader.commit(fat(&n.to_string(), 100_000)).await.unwrap();
    }
    leader.snapshot().await.unwrap();
    eventually("the log is dropped", || leader.inner.consensus.purged().is_some()).await;
    let learner = net.try_open(big(2), simulated(&disks.1, 2)).await.unwrap();
    leader.add_learner(2, "n2").await.unwrap();
    learner.caught_up().await.unwrap();
    assert!(net.chunks.load(Ordering::Relaxed) >= 4);
    level(&leader, &learner).await;
    assert_eq!(objects(&learner, leader.revision()), objects(&leader, leader.revision()));
    assert_eq!(learner.stats().history_changes, leader.stats().history_changes);
    // What was sent is there after a restart without another transfer.
    let sent = net.chunks.load(Ordering::Relaxed);
    net.take("n2");
    drop(learner);
    disks.1.crash(&mut Rng::seed_from_u64(1));
    let learner = net.try_open(big(2), simulated(&disks.1, 3)).await.unwrap();
    learner.caught_up().await.unwrap();
    assert_eq!(net.chunks.load(Ordering::Relaxed), sent);
    assert_eq!(objects(&learner, leader.revision()), objects(&leader, leader.revision()));
}

#[tokio::test(start_paused = true)]
async fn a_learner_that_was_cut_off_for_long_catches_up_and_cost_little_meanwhile() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    net.cut("n1", "n2");
    leader.commit(put("a", Expect::Any)).await.unwrap();
    let before = net.calls.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let most = 60 * 1000 / 400 + 20;
    assert!(
        net.calls.load(Ordering::Relaxed) - before < most,
        "no more than the longest wait between two tries allows"
    );
    for n in 0..50 {
        leader.commit(put(&n.to_string(), Expect::Any)).await.unwrap();
    }
    assert_eq!(learner.get(&key("a")), None, "reads go on, without the news");
    net.heal();
    level(&leader, &learner).await;
    net.cut("n1", "n2");
    for n in 0..50 {
        leader.commit(fat(&n.to_string(), 1000)).await.unwrap();
        leader.snapshot().await.unwrap();
    }
    net.heal();
    level(&leader, &learner).await;
    assert_eq!(objects(&learner, leader.revision()), objects(&leader, leader.revision()));
}

#[tokio::test(start_paused = true)]
async fn news_that_got_lost_is_told_again_and_an_idle_cluster_is_silent() {
    for seed in 0..20 {
        let (net, disks) = (Net::new(seed), (SimDisk::new(seed), SimDisk::new(1000 + seed)));
        let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
        *net.loses.lock() = 0.3;
        for n in 0..10 {
            leader.commit(put(&n.to_string(), Expect::Any)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(seed)).await;
        }
        level(&leader, &learner).await;
        *net.loses.lock() = 0.0;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let quiet = (net.calls.load(Ordering::Relaxed), disks.0.changes(), disks.1.changes());
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!((net.calls.load(Ordering::Relaxed), disks.0.changes(), disks.1.changes()), quiet, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_write_is_repeated_until_the_patience_ends_and_done_once() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    net.loses_commit_answers.store(true, Ordering::Relaxed);
    let writer = learner.clone();
    let waiting = tokio::spawn(async move { writer.commit(put("twice", Expect::Absent)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(leader.get(&key("twice")).is_some() && !waiting.is_finished());
    let lost = |made| matches!(made, Err(Error::Unavailable | Error::NoQuorum { .. }));
    assert!(lost(learner.commit(put("once", Expect::Absent)).await));
    let made = leader.get(&key("once")).unwrap();
    assert_eq!(made.created, made.modified, "made, and only once");
    assert!(lost(waiting.await.unwrap()), "no answer ever came");
    let writer = learner.clone();
    let waiting = tokio::spawn(async move { writer.commit(put("heard", Expect::Absent)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    net.loses_commit_answers.store(false, Ordering::Relaxed);
    let heard = waiting.await.unwrap().unwrap();
    assert_eq!(leader.get(&key("heard")).unwrap().created, heard.revision, "the first outcome");
    let changes = changes(&mut leader.watch(Scope::ALL, Revision(0)).unwrap(), heard.revision).await;
    assert_eq!(changes.len(), 3, "{changes:?}");
    net.cut("n1", "n2");
    let (writer, started) = (learner.clone(), tokio::time::Instant::now());
    let waiting = tokio::spawn(async move { writer.commit(put("late", Expect::Absent)).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    net.heal();
    waiting.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    net.cut("n1", "n2");
    let started = tokio::time::Instant::now();
    assert!(matches!(
        learner.commit(put("never", Expect::Absent)).await,
        Err(Error::Unavailable | Error::NoQuorum { .. })
    ));
    assert!(matches!(learner.barrier().await, Err(Error::Unavailable | Error::NoQuorum { .. })));
    assert!(started.elapsed() <= Duration::from_secs(11));
    assert!(learner.get(&key("late")).is_some(), "reads go on");
    assert_eq!(leader.get(&key("never")), None);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_nobody_added_waits_and_one_that_was_removed_is_told_nothing_more() {
    let (net, disks) = (Net::new(1), disks());
    let leader = net.open(1, &disks.0).await;
    let learner = net.open(2, &disks.1).await;
    let early = tokio::time::timeout(Duration::from_mins(1), learner.caught_up()).await;
    assert!(early.is_err() && learner.leader().is_none() && learner.members().is_empty());
    assert_eq!(learner.add_learner(3, "n3").await, Err(Error::NotLeader { leader: None }));
    assert!(matches!(learner.commit(put("a", Expect::Any)).await, Err(Error::Unavailable | Error::NoQuorum { .. })));
    for _ in 0..2 {
        leader.add_learner(2, "n2").await.unwrap();
    }
    learner.caught_up().await.unwrap();
    assert_eq!(leader.members().len(), 2);
    for _ in 0..2 {
        leader.remove(2).await.unwrap();
    }
    assert_eq!(leader.members().len(), 1);
    assert_eq!(leader.remove(1).await, Err(Error::Invalid), "the leader stays");
    let at = learner.revision();
    let made = leader.commit(put("b", Expect::Any)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(learner.revision() < made.revision && learner.revision() >= at);
    net.take("n2");
    learner.close().await;
    let renamed = StoreOptions { raft_id: 9, ..options(2) };
    match net.try_open(renamed, simulated(&disks.1, 1)).await {
        Err(Error::Foreign(text)) => assert!(text.contains("replica 2") && text.contains("replica 9"), "{text}"),
        other => panic!("{:?}", other.err()),
    }
    disks.1.kill();
    let fresh = SimDisk::new(3);
    let learner = net.try_open(StoreOptions { raft_id: 9, ..options(2) }, simulated(&fresh, 1)).await.unwrap();
    leader.add_learner(9, "n2").await.unwrap();
    learner.caught_up().await.unwrap();
    assert!(learner.get(&key("b")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lost_its_disk_does_not_pull_the_leader_down() {
    let (net, disks) = (Net::new(1), disks());
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    leader.commit(put("a", Expect::Any)).await.unwrap();
    level(&leader, &learner).await;
    net.take("n2");
    drop(learner);
    let blank = SimDisk::new(3);
    let learner = net.open(2, &blank).await;
    leader.commit(put("b", Expect::Any)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    leader.commit(put("c", Expect::Any)).await.unwrap();
    assert_eq!(learner.get(&key("b")), None);
    leader.remove(2).await.unwrap();
    leader.add_learner(2, "n2").await.unwrap();
    level(&leader, &learner).await;
    assert!(learner.get(&key("c")).is_some());
}

#[tokio::test(start_paused = true)]
async fn twenty_learners_follow_one_voter_of_whom_some_come_and_go() {
    let net = Net::new(1);
    let all: Vec<SimDisk> = (0..21).map(SimDisk::new).collect();
    let leader = net.open(1, &all[0]).await;
    let mut learners = Vec::new();
    for node in 2..=21 {
        learners.push(net.open(node, &all[usize::try_from(node).unwrap() - 1]).await);
        leader.add_learner(node, &format!("n{node}")).await.unwrap();
    }
    for n in 0..200_u64 {
        let writer = &learners[usize::try_from(n % 20).unwrap()];
        writer.commit(put(&n.to_string(), Expect::Absent)).await.unwrap();
        match n {
            50 => net.cut("n1", "n21"),
            60 => leader.snapshot().await.unwrap(),
            150 => net.heal(),
            _ => {}
        }
        if n == 50 {
            learners.pop();
            learners.push(net.stores_of("n20"));
        }
    }
    for learner in &learners {
        level(&leader, learner).await;
        assert_eq!(objects(learner, leader.revision()), objects(&leader, leader.revision()));
    }
    eventually("all are level", || leader.members().iter().all(|replica| replica.lag == Some(0))).await;
}

#[tokio::test(start_paused = true)]
async fn every_replica_keeps_its_own_log_small_and_a_short_absence_costs_no_snapshot() {
    let (net, disks) = (Net::new(1), disks());
    let bounded = |node| StoreOptions { snapshot_bytes: 30_000, segment_bytes: 16_384, ..options(node) };
    let leader = net.try_open(bounded(1), simulated(&disks.0, 1)).await.unwrap();
    let learner = net.try_open(bounded(2), simulated(&disks.1, 2)).await.unwrap();
    leader.add_learner(2, "n2").await.unwrap();
    for _ in 0..10 {
        for n in 0..40 {
            leader.commit(put(&n.to_string(), Expect::Any)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    level(&leader, &learner).await;
    assert!(leader.stats().log_bytes < 90_000 && learner.stats().log_bytes < 90_000, "{:?}", learner.stats());
    assert!(learner.inner.consensus.purged().is_some());
    let sent = net.chunks.load(Ordering::Relaxed);
    net.cut("n1", "n2");
    for n in 0..20 {
        leader.commit(put(&n.to_string(), Expect::Any)).await.unwrap();
    }
    leader.snapshot().await.unwrap();
    net.heal();
    level(&leader, &learner).await;
    assert_eq!(net.chunks.load(Ordering::Relaxed), sent);
}

#[test]
fn values_travel_as_binary_and_not_as_numbers() {
    let value = Bytes::from(vec![0xff_u8; 10_000]);
    let txn = Txn::one(Op { key: key("a"), expect: Expect::Any, action: Action::Put { value, splice: 0 } }, 0);
    let commit = rmp_serde::to_vec_named(&PeerRequest::Commit(txn.clone())).unwrap();
    assert!(commit.len() < 10_300, "{}", commit.len());
    let entry = openraft::Entry::<raft::Types> {
        log_id: raft::LogId::default(),
        payload: openraft::EntryPayload::Normal(raft::Command::Txn(txn.clone())),
    };
    let request = openraft::raft::AppendEntriesRequest {
        vote: openraft::Vote::new(1, 1),
        prev_log_id: None,
        entries: vec![entry],
        leader_commit: None,
    };
    let append = rmp_serde::to_vec_named(&PeerRequest::Append { to: 1, request, recovery: 0 }).unwrap();
    assert!(append.len() < 10_500, "{}", append.len());
    match rmp_serde::from_slice(&commit).unwrap() {
        PeerRequest::Commit(back) => assert_eq!(back, txn),
        other => panic!("{other:?}"),
    }
}
