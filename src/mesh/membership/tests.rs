//! The core and its driver, by themselves and in pairs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::roster::number_of;
use super::swim::Dice;
use super::wire::{Body, Frame};
use super::*;
use crate::mesh::member::{Life, MAX_META_BYTES, SharedView, View};

const START: Timestamp = Timestamp(1_800_000_000_000_000);

fn id(name: &str) -> NodeId {
    NodeId(name.into())
}

fn node(name: &str, generation: u64) -> Membership {
    Membership::new(&id(name), generation, Meta::default(), Settings::default(), 9, START).expect("meta is small")
}

fn datagrams(core: &mut Membership) -> Vec<(Recipient, Bytes)> {
    core.drain()
        .filter_map(|effect| match effect {
            Effect::Send { to, bytes } => Some((to, bytes)),
            Effect::Changed => None,
        })
        .collect()
}

/// Lets two exchange everything for a while, without loss.
fn talk(a: &mut Membership, b: &mut Membership, from: Timestamp, time: Duration) -> Timestamp {
    let (mut now, end) = (from, from + time);
    while now < end {
        now = now + Duration::from_millis(5);
        for core in [&mut *a, &mut *b] {
            if core.next_due().is_some_and(|due| due <= now) {
                core.due(now);
            }
        }
        let (to_b, to_a) = (datagrams(a), datagrams(b));
        to_b.iter().for_each(|(_, bytes)| b.received(now, &id("a"), bytes));
        to_a.iter().for_each(|(_, bytes)| a.received(now, &id("b"), bytes));
    }
    now
}

fn seed() -> Seed {
    Seed { node: None, address: ([10, 0, 0, 2], 7_000).into() }
}

fn pair() -> (Membership, Membership, Timestamp) {
    let (mut a, mut b) = (node("a", 1), node("b", 5));
    a.join(START, [seed()]);
    let now = talk(&mut a, &mut b, START, Duration::from_secs(3));
    (a, b, now)
}

fn life(view: &View, name: &str) -> (Life, u64) {
    let member = &view.members[&id(name)];
    (member.life, member.generation)
}

#[test]
fn a_seed_of_unknown_name_is_asked_until_somebody_answers() {
    let mut core = node("a", 1);
    core.join(START, [seed()]);
    let mut asked = 0;
    for _ in 0..4_000 {
        asked += datagrams(&mut core).iter().filter(|(to, _)| *to == Recipient::Seed(seed())).count();
        let now = core.next_due().expect("it lives");
        core.due(now);
        if now.since(START) > Duration::from_mins(1) {
            break;
        }
    }
    assert!((25..60).contains(&asked), "{asked}");
}

#[test]
fn two_meet_and_know_what_the_other_tells() {
    let (a, b, _) = pair();
    assert_eq!(life(&a.view(), "b"), (Life::Alive, 5));
    assert_eq!(life(&b.view(), "a"), (Life::Alive, 1));
}

#[test]
fn a_restart_replaces_the_old_start_at_once_and_the_old_one_is_not_believed_again() {
    let (mut a, mut b, now) = pair();
    let old = Frame { number: number_of(1), incarnation: 0, body: Body::Receipt { check: 1 } }.encode();
    let new = Frame { number: number_of(7), incarnation: 0, body: Body::Receipt { check: 1 } }.encode();
    b.received(now, &id("a"), &new);
    assert_eq!(life(&b.view(), "a"), (Life::Alive, 7));
    b.received(now, &id("a"), &old);
    assert_eq!(life(&b.view(), "a"), (Life::Alive, 7));
    // The old one hears of it and takes a number above, because nobody else may have its name.
    talk(&mut a, &mut b, now, Duration::from_secs(2));
    assert_eq!(a.counts().renewed, 1);
    assert_eq!(life(&b.view(), "a").0, Life::Alive);
}

#[test]
fn a_generation_far_ahead_of_the_clock_is_not_believed() {
    let (_, mut b, now) = pair();
    let before = b.counts().malformed;
    let tomorrow = u64::try_from(now.0 / 1_000).expect("positive") + 25 * 3_600_000;
    let absurd = Frame { number: number_of(tomorrow), incarnation: 0, body: Body::Receipt { check: 1 } }.encode();
    b.received(now, &id("a"), &absurd);
    assert_eq!(b.counts().malformed, before + 1);
    assert_eq!(life(&b.view(), "a"), (Life::Alive, 1));
}

#[test]
fn what_is_too_large_is_not_told() {
    let mut core = node("a", 1);
    let meta = Meta { zone: "z".repeat(MAX_META_BYTES), ..Meta::default() };
    assert_eq!(core.tell(START, meta), Err(TooLarge));
    assert_eq!(core.view().members[&id("a")].meta, Meta::default());
}

#[test]
fn a_small_change_of_load_is_not_told_and_a_large_one_waits_for_its_turn() {
    let mut core = node("a", 1);
    let version = |core: &Membership| core.view().members[&id("a")].meta.version;
    let tell = |core: &mut Membership, now, load_millicores| {
        core.tell(now, Meta { load_millicores, zone: "z".into(), ..Meta::default() }).expect("small");
    };
    tell(&mut core, START, 1_000);
    assert_eq!(version(&core), 1, "another zone is told at once");
    tell(&mut core, START, 1_050);
    assert_eq!(version(&core), 1);
    tell(&mut core, START, 2_000);
    assert_eq!(version(&core), 1, "too soon");
    let mut now = START;
    while now.since(START) < Duration::from_secs(6) {
        now = core.next_due().expect("it lives");
        core.due(now);
    }
    assert_eq!(version(&core), 2);
}

#[test]
fn no_bytes_make_a_node_panic_or_grow() {
    let (mut a, mut b, now) = pair();
    let mut samples: Vec<Bytes> = Vec::new();
    let tell = |core: &mut Membership, zone: &str| core.tell(now, Meta { zone: zone.into(), ..Meta::default() });
    tell(&mut a, "x").expect("small");
    for step in 0..400_u64 {
        a.due(now + Duration::from_millis(5 * step));
        for (_, bytes) in datagrams(&mut a) {
            b.received(now, &id("a"), &bytes);
            samples.push(bytes);
        }
        samples.extend(datagrams(&mut b).into_iter().map(|(_, bytes)| bytes));
    }
    assert!(samples.len() > 20 && samples.iter().all(|bytes| bytes.len() <= MAX_DATAGRAM));
    let mut dice = Dice(3);
    for round in 0..200_000_u32 {
        let mut bytes = if round % 4 == 0 {
            (0..dice.below(1_200)).map(|_| dice.next() as u8).collect()
        } else {
            samples[dice.below(u32::try_from(samples.len()).expect("few")) as usize].to_vec()
        };
        for _ in 0..dice.below(4) {
            let at = dice.below(u32::try_from(bytes.len()).expect("short")) as usize;
            if let Some(byte) = bytes.get_mut(at) {
                *byte = dice.next() as u8;
            }
        }
        if round % 7 == 0 {
            bytes.truncate(dice.below(1_200) as usize);
        }
        b.received(now + Duration::from_millis(u64::from(round) / 10), &id("a"), &bytes);
        let _ = b.drain().count();
    }
    assert!(b.counts().malformed > 10_000);
    assert!(b.view().members.len() <= MAX_MEMBERS);
}

type Inbox = Mutex<mpsc::Receiver<(NodeId, Bytes)>>;

/// Joins two drivers.
struct Wire {
    me: NodeId,
    other: mpsc::Sender<(NodeId, Bytes)>,
    inbox: Inbox,
}

#[async_trait]
impl Carrier for Wire {
    async fn send(&self, _: &Recipient, datagram: Bytes) {
        // A full queue loses it, as a network may.
        let _ = self.other.try_send((self.me.clone(), datagram));
    }

    async fn receive(&self) -> (NodeId, Bytes) {
        match self.inbox.lock().await.recv().await {
            Some(received) => received,
            None => std::future::pending().await,
        }
    }
}

type Driven = (mpsc::Sender<Command>, watch::Receiver<SharedView>, tokio::task::JoinHandle<()>);

fn drive(name: &str, other: mpsc::Sender<(NodeId, Bytes)>, inbox: mpsc::Receiver<(NodeId, Bytes)>) -> Driven {
    let core = node(name, 1);
    let carrier = Arc::new(Wire { me: id(name), other, inbox: Mutex::new(inbox) });
    let (commands, queue) = mpsc::channel(MAX_COMMANDS);
    let (publish, view) = watch::channel(Arc::new(core.view()));
    let task = tokio::spawn(run(core, carrier, START, queue, publish));
    (commands, view, task)
}

#[tokio::test(start_paused = true)]
async fn drivers_meet_tell_and_leave() {
    let ((to_a, at_a), (to_b, at_b)) = (mpsc::channel(100), mpsc::channel(100));
    let (a, mut view, task) = drive("a", to_b, at_a);
    let (b, mut at_b, _) = drive("b", to_a, at_b);
    a.send(Command::Join(vec![seed()])).await.expect("it runs");
    let within = Duration::from_secs(5);
    let met = view.wait_for(|view| view.reachable().count() == 2);
    tokio::time::timeout(within, met).await.expect("in time").expect("it runs");
    b.send(Command::Tell(Meta { zone: "z".into(), ..Meta::default() })).await.expect("it runs");
    let told = view.wait_for(|view| view.members[&id("b")].meta.zone == "z");
    tokio::time::timeout(within, told).await.expect("in time").expect("it runs");
    let (done, left) = oneshot::channel();
    a.send(Command::Leave(done)).await.expect("it runs");
    left.await.expect("it said goodbye");
    let gone = at_b.wait_for(|view| view.members[&id("a")].life == Life::Left);
    tokio::time::timeout(within, gone).await.expect("in time").expect("it runs");
    task.await.expect("it ended in order");
}
