//! Writes that are asked for more than once, and readers that change nodes.

use std::sync::atomic::Ordering;

use super::net::{Net, level, pair};
use super::voters::{disks, leader_of, three};
use super::*;
use crate::store::once::{REMEMBERED, Ticket};
use crate::store::raft::Command;

async fn ask(store: &Store, ticket: Ticket, txn: Txn) -> PeerAnswer {
    store.answer("n9", PeerRequest::Once { ticket, txn }).await
}

fn ticket(sequence: u64, since: u64) -> Ticket {
    Ticket { session: 5, sequence, since: Revision(since) }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_the_first_outcome_also_from_another_leader_after_a_snapshot_and_a_restart() {
    let (net, disks) = (Net::new(1), disks(1));
    let mut stores = three(&net, &disks).await;
    let since = stores[0].revision().0;
    let first = |answer: PeerAnswer| match answer {
        PeerAnswer::Commit { result, .. } => result,
        other => panic!("{other:?}"),
    };
    let made = first(ask(&stores[0], ticket(1, since), put("a", Expect::Absent)).await);
    let refused = first(ask(&stores[0], ticket(2, since), put("a", Expect::Absent)).await);
    assert!(made.is_ok() && matches!(refused, Err(Error::Conflict { .. })));
    let mut gone = put("a", Expect::Any);
    gone.ops[0].action = Action::Delete;
    stores[1].commit(gone).await.unwrap();
    for round in 0..3 {
        let leader = leader_of(&stores).unwrap();
        // The object is gone: both would be done now, were they not known.
        assert_eq!(first(ask(&leader, ticket(1, since), put("a", Expect::Absent)).await), made, "round {round}");
        assert_eq!(first(ask(&leader, ticket(2, since), put("a", Expect::Absent)).await), refused, "round {round}");
        assert_eq!(leader.get(&key("a")), None);
        leader.snapshot().await.unwrap();
        let at = stores.iter().position(Store::leads).unwrap();
        let node = u64::try_from(at).unwrap() + 1;
        drop(leader);
        net.kill(&format!("n{node}"));
        stores.remove(at);
        disks[at].crash(&mut Rng::seed_from_u64(round));
        net::eventually("another leads", || leader_of(&stores).is_some()).await;
        stores.insert(at, net.open(node, &disks[at]).await);
        stores[at].caught_up().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_after_its_ticket_was_forgotten_does_nothing() {
    let (net, disks) = (Net::new(1), (SimDisk::new(1), SimDisk::new(2)));
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    let since = leader.revision().0;
    ask(&leader, ticket(1, since), put("a", Expect::Absent)).await;
    let empty = || Command::Txn(Txn::default());
    for _ in 0..REMEMBERED / 512 {
        futures::future::join_all((0..512).map(|_| leader.inner.consensus.propose(empty()))).await;
    }
    let late = ask(&leader, ticket(1, since), put("b", Expect::Absent)).await;
    assert!(matches!(late, PeerAnswer::Forgotten(_)), "{late:?}");
    assert_eq!(leader.get(&key("b")), None);
    // One that lags that far behind still writes: it learns how far it is.
    net.cut("n1", "n2");
    for _ in 0..REMEMBERED / 512 + 1 {
        futures::future::join_all((0..512).map(|_| leader.inner.consensus.propose(empty()))).await;
    }
    net.heal();
    learner.commit(put("c", Expect::Absent)).await.unwrap();
    level(&leader, &learner).await;
    assert!(learner.get(&key("c")).is_some());
}

#[test]
fn entries_of_older_logs_are_read_and_a_ticket_costs_few_bytes() {
    #[derive(serde::Serialize)]
    enum Old {
        Txn(Txn),
        Compact(Revision),
    }
    let txn = put("a", Expect::Any);
    let decode = |old: &Old| rmp_serde::from_slice::<Command>(&rmp_serde::to_vec(old).unwrap()).unwrap();
    assert_eq!(decode(&Old::Txn(txn.clone())), Command::Txn(txn.clone()));
    assert_eq!(decode(&Old::Compact(Revision(7))), Command::Compact(Revision(7)));
    let plain = rmp_serde::to_vec(&Command::Txn(txn.clone())).unwrap().len();
    let ticket = Ticket { session: u64::MAX, sequence: 1_000_000, since: Revision(1_000_000) };
    let with = rmp_serde::to_vec(&Command::Once(ticket, txn)).unwrap().len();
    assert!(with <= plain + 24, "{plain} {with}");
}

/// Names of the changes in order, each of which must be newer than the one before.
async fn read(watch: &mut Watch, upto: Revision) -> Vec<String> {
    let mut names = Vec::new();
    while watch.revision() < upto {
        let batch = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
        let batch = batch.expect("no gap").unwrap();
        names.extend(batch.changes.iter().map(|change| change.record.key.name.to_string()));
    }
    names
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_at_another_node_from_the_same_revision_without_gap_or_repetition() {
    for seed in 0..10 {
        let (net, disks) = (Net::new(seed), disks(seed));
        let mut rng = Rng::seed_from_u64(seed);
        let stores = three(&net, &disks).await;
        let disk = SimDisk::new(99);
        let learner = net.open(4, &disk).await;
        stores[0].add_learner(4, "n4").await.unwrap();
        learner.caught_up().await.unwrap();
        *net.delay.lock() = Duration::from_millis(2);
        let nodes = [stores[0].clone(), stores[1].clone(), stores[2].clone(), learner];
        let (mut at, mut wanted, mut seen) = (nodes[0].revision(), Vec::new(), Vec::new());
        for step in 0..12 {
            let mut last = at;
            for n in 0..rng.random_range(1..10) {
                let name = format!("{step}-{n}");
                last = nodes[rng.random_range(0..4)].commit(put(&name, Expect::Absent)).await.unwrap().revision;
                wanted.push(name);
            }
            // The next node may be behind the revision that the client has from the one before.
            let node = &nodes[rng.random_range(0..4)];
            node.reach(at, Duration::from_secs(3)).await.unwrap();
            let mut watch = node.watch(Scope::ALL, at).unwrap();
            node.reach(last, Duration::from_secs(3)).await.unwrap();
            seen.extend(read(&mut watch, last).await);
            at = watch.revision();
        }
        assert_eq!(seen, wanted, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_names_a_newer_revision_waits_for_it_and_not_for_ever() {
    let (net, disks) = (Net::new(1), (SimDisk::new(1), SimDisk::new(2)));
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    let within = Duration::from_secs(3);
    net.cut("n1", "n2");
    let made = leader.commit(put("a", Expect::Absent)).await.unwrap();
    let started = tokio::time::Instant::now();
    let newest = learner.revision();
    assert_eq!(learner.reach(newest, within).await, Ok(()));
    assert_eq!(started.elapsed(), Duration::ZERO, "what is here is not waited for");
    assert_eq!(learner.reach(made.revision, within).await, Err(Error::Future { newest }));
    assert!((within..within + Duration::from_millis(5)).contains(&started.elapsed()), "{:?}", started.elapsed());
    let waiting = {
        let learner = learner.clone();
        tokio::spawn(async move { learner.reach(made.revision, within).await })
    };
    tokio::time::sleep(Duration::from_millis(800)).await;
    net.heal();
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert!(learner.get(&key("a")).is_some());
    let future = Revision(made.revision.0 + 1);
    let asked = net.read_indexes.load(Ordering::Relaxed);
    let newest = learner.revision();
    assert_eq!(learner.reach(future, within).await, Err(Error::Future { newest }));
    assert!(net.read_indexes.load(Ordering::Relaxed) - asked <= 2, "it does not ask again and again");
}
