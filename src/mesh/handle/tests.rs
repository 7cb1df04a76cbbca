//! Calls, watches and streams between nodes of one process, on virtual time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::mesh::exports::{Handler, Stream, Streams};
use crate::mesh::memory::{Network, Switches};
use crate::world::clock::VirtualClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SeededEntropy;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Ask {
    Echo(u64),
    Forever,
    Large(usize),
    Panic,
}

struct Echo;

impl Protocol for Echo {
    const ACTOR: &'static str = "echo";
    const VERSION: u16 = 3;
    const OLDEST: u16 = 2;
    const CLASS: Class = Class::Control;
    type Request = Ask;
    type Answer = (u64, Bytes);
}

/// The same actor as spoken by a build of the future.
struct Newer;

impl Protocol for Newer {
    const ACTOR: &'static str = "echo";
    const VERSION: u16 = 4;
    const CLASS: Class = Class::Control;
    type Request = String;
    type Answer = ();
}

/// The right version, an unknown message.
struct Other;

impl Protocol for Other {
    const ACTOR: &'static str = "echo";
    const VERSION: u16 = 3;
    const CLASS: Class = Class::Control;
    type Request = String;
    type Answer = ();
}

#[derive(Default)]
struct Echoer {
    handled: AtomicUsize,
    under_way: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Handler<Echo> for Echoer {
    async fn handle(&self, _from: &NodeId, request: Ask) -> Result<(u64, Bytes), Refusal> {
        self.handled.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(self.under_way.clone());
        match request {
            Ask::Echo(number) => Ok((number, Bytes::new())),
            Ask::Large(size) => Ok((0, vec![7; size].into())),
            Ask::Forever => std::future::pending().await,
            Ask::Panic => panic!("as asked"),
        }
    }
}

struct Node {
    mesh: Mesh,
    handler: Arc<Echoer>,
    task: JoinSet<std::io::Error>,
}

struct World3 {
    network: Network,
    switches: Arc<Switches>,
}

fn id(name: &str) -> NodeId {
    NodeId(name.into())
}

fn at(name: &str) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, name.as_bytes()[0]], 6443))
}

fn world() -> World3 {
    let switches = Arc::new(Switches::default());
    World3 { network: Network::new(switches.clone()), switches }
}

impl World3 {
    fn node(&self, name: &str, generation: u64) -> Node {
        let handler = Arc::new(Echoer::default());
        let exports = Exports::default();
        exports.serve::<Echo>(Echo::ACTOR, handler.clone());
        let (mesh, task) = Mesh::new(MeshParts {
            me: id(name),
            generation,
            fabric: self.network.join(&id(name), at(name)),
            exports,
            meta: Meta::default(),
            peers: ["a", "b", "c"].iter().map(|name| (Some(id(name)), at(name))).collect(),
            world: World {
                clock: Arc::new(VirtualClock::starting_at(Timestamp::default())),
                entropy: Arc::new(SeededEntropy::new(generation)),
                disk: Arc::new(RealDisk),
            },
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Node { mesh, handler, task: tasks }
    }

    fn pair(&self) -> (Node, Node) {
        (self.node("a", 1), self.node("b", 1))
    }
}

impl Node {
    async fn ask(&self, to: &str, ask: Ask, deadline: Duration) -> Result<u64, Failure> {
        let address = Address::new(&id(to), Echo::ACTOR);
        self.mesh.call::<Echo>(&address, ask, deadline).await.map(|(number, _)| number)
    }

    fn handled(&self) -> usize {
        self.handler.handled.load(Ordering::SeqCst)
    }

    fn under_way(&self) -> usize {
        self.handler.under_way.load(Ordering::SeqCst)
    }
}

async fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if true_now() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within twenty seconds: {what}");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_here_and_there_with_64_under_way() {
    let world = world();
    let (a, b) = world.pair();
    assert_eq!(a.ask("a", Ask::Echo(1), SECOND).await, Ok(1));
    let answers = futures::future::join_all((0..64).map(|n| a.ask("b", Ask::Echo(n), SECOND))).await;
    assert_eq!(answers, (0..64).map(Ok).collect::<Vec<_>>());
    assert_eq!(b.ask("a", Ask::Echo(9), SECOND).await, Ok(9));
    assert_eq!((a.handled(), b.handled()), (2, 64));
    assert_eq!(world.network.count(&id("a"), &id("b")), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_calls_in_any_order() {
    let world = world();
    let (a, _b) = world.pair();
    let early = a.ask("b", Ask::Forever, Duration::MAX);
    let late = async {
        for number in 0..10 {
            assert_eq!(a.ask("b", Ask::Echo(number), SECOND).await, Ok(number));
        }
    };
    tokio::select! { biased; early = early => panic!("no answer was due: {early:?}"), () = late => {} }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_and_drops_its_handler() {
    let world = world();
    let (a, b) = world.pair();
    let before = Instant::now();
    assert_eq!(a.ask("b", Ask::Forever, SECOND).await, Err(Failure::Timeout));
    assert!(before.elapsed() < 2 * SECOND);
    until("the handler is dropped", || b.under_way() == 0).await;
    assert_eq!(a.ask("a", Ask::Forever, SECOND).await, Err(Failure::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_drops_the_handler() {
    let world = world();
    let (a, b) = world.pair();
    {
        let call = a.ask("b", Ask::Forever, 3600 * SECOND);
        tokio::pin!(call);
        let begun = until("the handler begins", || b.under_way() == 1);
        tokio::select! { _ = &mut call => panic!("no answer was due"), () = begun => {} }
    }
    until("the handler is dropped", || b.under_way() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_refused_and_the_connection_stays() {
    let world = world();
    let (a, b) = world.pair();
    let nobody = a.mesh.call::<Echo>(&Address::new(&id("b"), "nobody"), Ask::Echo(1), SECOND).await;
    assert_eq!(nobody, Err(Refusal::UnknownActor("nobody".into()).into()));
    let address = Address::new(&id("b"), "echo");
    let newer = a.mesh.call::<Newer>(&address, String::new(), SECOND).await;
    assert_eq!(newer, Err(Refusal::Version { asked: 4, oldest: 2, newest: 3 }.into()));
    let other = a.mesh.call::<Other>(&address, "?".into(), SECOND).await;
    assert!(matches!(other, Err(Failure::Refused(Refusal::UnknownMessage(_)))), "{other:?}");
    let local = a.mesh.call::<Other>(&Address::new(&id("a"), "echo"), "?".into(), SECOND).await;
    assert!(matches!(local, Err(Failure::Refused(Refusal::UnknownMessage(_)))), "{local:?}");
    assert!(matches!(a.ask("b", Ask::Panic, SECOND).await, Err(Failure::Refused(Refusal::Failed(_)))));
    let large = a.ask("b", Ask::Large(2 << 20), SECOND).await;
    assert!(matches!(large, Err(Failure::Refused(Refusal::Failed(_)))), "{large:?}");
    assert_eq!(a.ask("b", Ask::Echo(5), SECOND).await, Ok(5));
    assert_eq!((b.mesh.links().counters().opened.get(), b.mesh.links().counters().closed.get()), (1, 0));
    assert_eq!(b.mesh.links().counters().refused.version.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_can_reach_fails_at_once_or_within_the_deadline() {
    let world = world();
    let (a, b) = world.pair();
    assert_eq!(a.ask("z", Ask::Echo(1), SECOND).await, Err(Failure::Unreachable(id("z"))));
    world.switches.cut(&id("a"), &id("b"));
    let before = Instant::now();
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Err(Failure::Unreachable(id("b"))));
    assert!(before.elapsed() <= 2 * SECOND);
    assert_eq!(b.handled(), 0);
    world.switches.heal();
    sleep(5 * SECOND).await;
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_handled_at_most_once_whatever_is_cut() {
    let world = world();
    let (a, b) = world.pair();
    world.switches.delay(Duration::from_millis(3));
    let (mut answered, mut unsent) = (0, 0);
    for round in 0..200_u64 {
        let call = a.ask("b", Ask::Echo(round), SECOND);
        let fault = async {
            sleep(Duration::from_millis(round % 20)).await;
            match round % 3 {
                0 => world.network.sever(&id("a"), &id("b")),
                1 => world.switches.cut_one_way(&id("b"), &id("a")),
                _ => {}
            }
        };
        match tokio::join!(call, fault).0 {
            Ok(number) => {
                assert_eq!(number, round);
                answered += 1;
            }
            Err(Failure::Unreachable(_)) => unsent += 1,
            Err(_) => {}
        }
        world.switches.heal();
        sleep(SECOND).await;
    }
    assert!(answered > 20 && answered <= b.handled(), "{answered} answered, {} handled", b.handled());
    assert!(b.handled() + unsent <= 200, "{} handled, {unsent} not sent", b.handled());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_calls_as_lost() {
    let world = world();
    let (a, b) = world.pair();
    let call = a.ask("b", Ask::Forever, 3600 * SECOND);
    let sever = async {
        until("the handler begins", || b.under_way() == 1).await;
        world.network.sever(&id("a"), &id("b"));
    };
    assert_eq!(tokio::join!(call, sever).0, Err(Failure::Lost(id("b"))));
    until("the handler is dropped", || b.under_way() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_process_that_is_gone_end_once_the_next_one_is_there() {
    let world = world();
    let (a, first) = world.pair();
    let call = a.ask("b", Ask::Forever, 3600 * SECOND);
    let restart = async {
        until("the handler begins", || first.under_way() == 1).await;
        sleep(5 * SECOND).await;
        let next = world.node("b", 2);
        assert_eq!(next.ask("a", Ask::Echo(1), SECOND).await, Ok(1));
        (next, Instant::now())
    };
    let (outcome, ended, (_next, back)) = {
        let timed = async { (call.await, Instant::now()) };
        let ((outcome, ended), restarted) = tokio::join!(timed, restart);
        (outcome, ended, restarted)
    };
    assert_eq!(outcome, Err(Failure::Lost(id("b"))));
    assert!(ended.saturating_duration_since(back) < SECOND, "{:?}", ended - back);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_dial_each_other_at_once_keep_one_connection() {
    let world = world();
    world.switches.delay(Duration::from_millis(20));
    let (a, b) = world.pair();
    let (one, other) = tokio::join!(a.ask("b", Ask::Echo(1), SECOND), b.ask("a", Ask::Echo(2), SECOND));
    assert_eq!((one, other), (Ok(1), Ok(2)));
    until("one is left", || world.network.count(&id("a"), &id("b")) == 1).await;
    assert_eq!(a.ask("b", Ask::Echo(3), SECOND).await, Ok(3));
    assert_eq!(b.ask("a", Ask::Echo(4), SECOND).await, Ok(4));
    assert_eq!(world.network.count(&id("a"), &id("b")), 1);
    assert_eq!(a.mesh.links().counters().opened.get(), 2, "both had dialled");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_made_again_when_needed() {
    let world = world();
    let (a, _b) = world.pair();
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
    sleep(40 * SECOND).await;
    assert_eq!(world.network.count(&id("a"), &id("b")), 1);
    sleep(60 * SECOND).await;
    assert_eq!(world.network.count(&id("a"), &id("b")), 0);
    assert_eq!(a.ask("b", Ask::Echo(2), SECOND).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_bound_are_refused_as_busy() {
    let world = world();
    let (a, b) = world.pair();
    let bound = crate::mesh::links::serve::max_under_way(Class::Control);
    let answers = futures::future::join_all((0..bound + 10).map(|_| a.ask("b", Ask::Forever, SECOND))).await;
    let busy = answers.iter().filter(|answer| **answer == Err(Refusal::Busy.into())).count();
    assert_eq!((busy, b.handled()), (10, bound));
    assert_eq!(b.mesh.links().counters().refused.busy.get(), 10);
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_blocks_only_its_own_queue() {
    let world = world();
    let (a, _b) = world.pair();
    let c = world.node("c", 1);
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
    world.switches.cut_one_way(&id("a"), &id("b"));
    let address = Address::new(&id("b"), Echo::ACTOR);
    let mut shed = 0;
    for number in 0..20_000 {
        if a.mesh.cast::<Echo>(&address, Ask::Echo(number)).await == Err(Failure::Shed(id("b"))) {
            shed += 1;
        }
        tokio::task::yield_now().await;
    }
    assert!(shed > 0 && shed == a.mesh.links().counters().shed.of(Class::Control).get(), "{shed}");
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Err(Failure::Shed(id("b"))));
    assert_eq!(a.ask("c", Ask::Echo(2), SECOND).await, Ok(2));
    assert_eq!(c.handled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_its_answers_loses_its_connection() {
    let world = world();
    let (a, b) = world.pair();
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
    world.switches.cut_one_way(&id("b"), &id("a"));
    let before = Instant::now();
    let calls = (0..40).map(|_| a.ask("b", Ask::Large(900 << 10), 60 * SECOND));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_err) && before.elapsed() < 30 * SECOND);
    until("the handlers are dropped", || b.under_way() == 0).await;
    assert_eq!(world.network.count(&id("a"), &id("b")), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_the_end_of_the_actor() {
    let world = world();
    let (a, b) = world.pair();
    assert_eq!(a.mesh.watch(&Address::new(&id("b"), "nobody")).await, Ended::Actor);
    assert_eq!(a.mesh.watch(&Address::new(&id("a"), "nobody")).await, Ended::Actor);
    let address = Address::new(&id("b"), "echo");
    let watch = a.mesh.watch(&address);
    let withdraw = async {
        sleep(90 * SECOND).await;
        world.network.sever(&id("a"), &id("b"));
        sleep(5 * SECOND).await;
        b.mesh.exports().withdraw("echo");
        Instant::now()
    };
    let (ended, withdrawn) = tokio::join!(async { (watch.await, Instant::now()) }, withdraw);
    assert_eq!(ended.0, Ended::Actor);
    assert!(ended.1 >= withdrawn && ended.1 - withdrawn < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_the_end_and_the_restart_of_the_node() {
    let world = world();
    let (a, b) = world.pair();
    let address = Address::new(&id("b"), "echo");
    let die = async {
        sleep(SECOND).await;
        drop(b);
    };
    assert_eq!(tokio::join!(a.mesh.watch(&address), die).0, Ended::Node);
    let b = world.node("b", 2);
    let restart = async {
        sleep(5 * SECOND).await;
        drop(b);
        sleep(SECOND).await;
        world.node("b", 3)
    };
    let (ended, _b) = tokio::join!(a.mesh.watch(&address), restart);
    assert_eq!(ended, Ended::Node);
}

struct Reverse;

#[async_trait]
impl Streams for Reverse {
    async fn open(&self, _from: &NodeId, _version: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        if header.is_empty() { Err(Refusal::Forbidden("nothing asked".into())) } else { Ok(Box::new(Reverse)) }
    }
}

#[async_trait]
impl Stream for Reverse {
    fn grant(&mut self) -> Bytes {
        Bytes::from_static(b"granted")
    }

    async fn serve(self: Box<Self>, mut duplex: Duplex) {
        let mut text = Vec::new();
        duplex.receive.read_to_end(&mut text).await.expect("the text");
        text.reverse();
        duplex.send.write_all(&text).await.expect("room");
        duplex.send.shutdown().await.expect("an end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_stream_is_granted_or_refused_here_and_there() {
    let world = world();
    let (a, b) = world.pair();
    for node in [&a, &b] {
        node.mesh.exports().serve_streams("reverse", 1..=1, Arc::new(Reverse));
        let address = Address::new(&node.mesh.me().clone(), "reverse");
        let open = |version, header| a.mesh.open(&address, Class::Bulk, version, header, SECOND);
        let refused = open(1, Bytes::new()).await.err();
        assert_eq!(refused, Some(Refusal::Forbidden("nothing asked".into()).into()));
        let refused = open(2, Bytes::from_static(b"x")).await.err();
        assert_eq!(refused, Some(Refusal::Version { asked: 2, oldest: 1, newest: 1 }.into()));
        let (grant, mut duplex) = open(1, Bytes::from_static(b"x")).await.expect("a stream");
        assert_eq!(grant, Bytes::from_static(b"granted"));
        let text: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        duplex.send.write_all(&text).await.expect("room");
        duplex.send.shutdown().await.expect("an end");
        let mut read = Vec::new();
        duplex.receive.read_to_end(&mut read).await.expect("the answer");
        read.reverse();
        assert!(read == text);
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_only_its_own_connection_and_is_counted() {
    let world = world();
    let (a, b) = world.pair();
    let stranger = world.network.join(&id("s"), at("s"));
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
    for garbage in [&[0xff; 40][..], &[0, 0, 0, 3, 0x91, 99, 1], b"\0\0\0\x06\x92\x05\x01\x01\x01\x01"] {
        let channel = stranger.dial(&id("b"), at("b")).await.expect("a connection");
        let mut duplex = channel.open().await.expect("a stream");
        duplex.send.write_all(garbage).await.expect("room");
        channel.closed().await;
    }
    let counters = b.mesh.links().counters();
    assert_eq!((counters.malformed.get(), counters.closed.get()), (3, 3));
    assert_eq!(a.ask("b", Ask::Echo(2), SECOND).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_task_ends_every_call_and_connection() {
    let world = world();
    let (mut a, b) = world.pair();
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
    let (mesh, address) = (a.mesh.clone(), Address::new(&id("b"), "echo"));
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (mesh, address) = (mesh.clone(), address.clone());
        calls.spawn(async move { mesh.call::<Echo>(&address, Ask::Forever, 3600 * SECOND).await });
    }
    until("the handlers begin", || b.under_way() == 10).await;
    a.task.shutdown().await;
    let ended = calls.join_all().await;
    assert!(ended.iter().all(|ended| *ended == Err(Failure::Lost(id("b")))), "{ended:?}");
    until("the handlers are dropped", || b.under_way() == 0).await;
    assert_eq!(world.network.count(&id("a"), &id("b")), 0);
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Err(Failure::Unreachable(id("b"))));
}

#[tokio::test(start_paused = true)]
async fn a_refused_node_is_cut_off_and_let_in_again() {
    let world = world();
    let (a, b) = world.pair();
    assert_eq!(a.ask("b", Ask::Echo(1), SECOND).await, Ok(1));
    b.mesh.refuse(|node| *node == id("a"));
    until("it is cut off", || world.network.count(&id("a"), &id("b")) == 0).await;
    assert!(a.ask("b", Ask::Echo(2), SECOND).await.is_err());
    assert_eq!(b.ask("a", Ask::Echo(2), SECOND).await, Err(Failure::Unreachable(id("a"))));
    b.mesh.refuse(|_| false);
    sleep(5 * SECOND).await;
    assert_eq!(a.ask("b", Ask::Echo(3), SECOND).await, Ok(3));
    assert_eq!(b.handled(), 2);
}

#[tokio::test(start_paused = true)]
async fn datagrams_go_by_name_and_to_a_seed_of_unknown_name() {
    let world = world();
    let fabric = |name: &str| LinksParts {
        me: id(name),
        generation: 1,
        fabric: world.network.join(&id(name), at(name)),
        exports: Exports::default(),
        directory: Box::new(|node| vec![at(&node.0)]),
        view: watch::channel(Arc::new(View { me: id(name), members: BTreeMap::new(), local_health: 0 })).1,
        rng: crate::world::entropy::Entropy::fork(&SeededEntropy::new(1)),
        settings: Settings::default(),
    };
    let (a, received) = Links::new(fabric("a"));
    let near = Datagrams::new(&a, received);
    let (b, received) = Links::new(fabric("b"));
    let far = Datagrams::new(&b, received);
    let mut tasks = JoinSet::new();
    for links in [a.clone(), b.clone()] {
        tasks.spawn(async move { links.run().await });
    }
    assert_eq!(near.send_to_address(at("b"), Bytes::from_static(b"1")).await, Ok(id("b")));
    assert_eq!(far.receive().await, Some((id("a"), Bytes::from_static(b"1"))));
    far.send(&id("a"), Bytes::from_static(b"2"));
    assert_eq!(near.receive().await, Some((id("b"), Bytes::from_static(b"2"))));
    world.network.sever(&id("a"), &id("b"));
    sleep(SECOND).await;
    far.send(&id("a"), Bytes::from_static(b"3"));
    assert_eq!(near.receive().await, Some((id("b"), Bytes::from_static(b"3"))));
    a.stop();
    b.stop();
}
