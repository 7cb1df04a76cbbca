//! Nodes on real ports of the loopback interface, with cuts between pairs of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::*;
use crate::mesh::address::Address;
use crate::mesh::exports::{Handler, Protocol, Stream, Streams};
use crate::mesh::fabric::Fabric as _;
use crate::mesh::handle::{Ended, Mesh, MeshParts};
use crate::mesh::join::Shut;
use crate::mesh::member::{Member, Meta, SharedView, View};
use crate::mesh::quic::tests::{Authority, Paper};
use crate::mesh::quic::{Endpoint, Limits, QuicFabric};
use crate::model::Timestamp;
use crate::world::World;
use crate::world::clock::VirtualClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SeededEntropy;

const SECOND: Duration = Duration::from_secs(1);
/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket that loses what goes to some addresses.
#[derive(Debug)]
struct Lossy {
    inner: Arc<dyn AsyncUdpSocket>,
    lost: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl AsyncUdpSocket for Lossy {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.lost.lock().contains(&transmit.destination) {
            return Ok(());
        }
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }
}

struct Who;

/// Asks who asks.
impl Protocol for Who {
    const ACTOR: &'static str = "who";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = u64;
    type Answer = (u64, NodeId);
}

#[derive(Default)]
struct Answers(AtomicUsize);

#[async_trait]
impl Handler<Who> for Answers {
    async fn handle(&self, from: &NodeId, request: u64) -> Result<(u64, NodeId), Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok((request, from.clone()))
    }
}

/// Sends back whatever comes.
struct Mirror;

#[async_trait]
impl Streams for Mirror {
    async fn open(&self, _: &NodeId, _: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        Ok(Box::new(Mirrored(header)))
    }
}

struct Mirrored(Bytes);

#[async_trait]
impl Stream for Mirrored {
    fn grant(&mut self) -> Bytes {
        self.0.clone()
    }

    async fn serve(self: Box<Self>, mut duplex: Duplex) {
        let _ = tokio::io::copy(&mut duplex.receive, &mut duplex.send).await;
        let _ = duplex.send.shutdown().await;
    }
}

struct Node {
    id: NodeId,
    mesh: Mesh,
    endpoint: Endpoint,
    fabric: Arc<QuicFabric>,
    answers: Arc<Answers>,
    lost: Arc<Mutex<BTreeSet<SocketAddr>>>,
    view: watch::Sender<SharedView>,
    tasks: JoinSet<()>,
}

fn id(name: &str) -> NodeId {
    NodeId(name.into())
}

fn member(node: &Node) -> Member {
    Member {
        node: node.id.clone(),
        generation: 1,
        incarnation: 0,
        life: Life::Alive,
        since: Timestamp::default(),
        meta: Meta { addresses: vec![node.fabric.local()], ..Meta::default() },
        round_trip: None,
    }
}

impl Node {
    async fn start(authority: &Arc<Authority>, name: &str) -> Self {
        let socket = TokioRuntime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let lost = Arc::new(Mutex::default());
        let socket = Arc::new(Lossy { inner: socket, lost: Arc::clone(&lost) });
        let endpoint = Endpoint::over(socket, Paper::of(authority, name), Limits::default()).unwrap();
        let answers = Arc::new(Answers::default());
        let exports = Exports::default();
        exports.serve::<Who>(Who::ACTOR, answers.clone());
        exports.serve_streams("mirror", 1..=1, Arc::new(Mirror));
        let fabric = endpoint.fabric();
        let (mesh, task) = Mesh::new(MeshParts {
            me: id(name),
            generation: 1,
            fabric: fabric.clone(),
            exports,
            meta: Meta::default(),
            peers: Vec::new(),
            world: World {
                clock: Arc::new(VirtualClock::starting_at(Timestamp::default())),
                entropy: Arc::new(SeededEntropy::new(u64::from(name.as_bytes()[0]))),
                disk: Arc::new(RealDisk),
            },
        });
        let mut tasks = JoinSet::new();
        let running = endpoint.clone();
        tasks.spawn(async move { running.run(Arc::new(Shut(Bytes::new()))).await });
        let (given, taken) = oneshot::channel();
        tasks.spawn(async move {
            let driver = |surroundings: crate::mesh::handle::Surroundings| async move {
                let _ = given.send(surroundings.view);
                std::future::pending().await
            };
            task.run_with(driver).await;
        });
        Self { id: id(name), mesh, endpoint, fabric, answers, lost, view: taken.await.unwrap(), tasks }
    }

    /// Nothing of this node gets to `other` any more.
    fn lose_to(&self, other: &Self) {
        self.lost.lock().insert(other.fabric.local());
    }

    fn cut(&self, other: &Self) {
        self.lose_to(other);
        other.lose_to(self);
    }

    fn heal(&self) {
        self.lost.lock().clear();
    }

    async fn ask(&self, to: &Self, number: u64, deadline: Duration) -> Result<(u64, NodeId), Failure> {
        self.mesh.call::<Who>(&Address::new(&to.id, Who::ACTOR), number, deadline).await
    }

    async fn open(&self, to: &Self, actor: &str, header: Vec<u8>) -> Result<(Bytes, Duplex), Failure> {
        self.mesh.open(&Address::new(&to.id, actor), Class::Bulk, 1, header.into(), 5 * SECOND).await
    }

    fn relayed(&self, to: &Self) -> Option<bool> {
        self.mesh.links().is_relayed(&to.id)
    }

    /// Ends it as a killed process ends: nobody is told.
    async fn die(&mut self, others: &[&Self]) {
        for other in others {
            self.lose_to(other);
        }
        self.tasks.shutdown().await;
    }
}

/// Everybody sees everybody.
fn introduce(nodes: &[&Node]) {
    see(nodes, |_| Life::Alive);
}

fn see(nodes: &[&Node], life: impl Fn(&NodeId) -> Life) {
    for node in nodes {
        let each = nodes.iter().map(|other| (other.id.clone(), Member { life: life(&other.id), ..member(other) }));
        let members: BTreeMap<_, _> = each.collect();
        node.view.send_replace(Arc::new(View { me: node.id.clone(), members, local_health: 0 }));
    }
}

async fn three() -> (Node, Node, Node) {
    let authority = Authority::new();
    let nodes = tokio::join!(Node::start(&authority, "a"), Node::start(&authority, "b"), Node::start(&authority, "c"));
    introduce(&[&nodes.0, &nodes.1, &nodes.2]);
    nodes
}

async fn until(what: &str, bound: Duration, mut true_now: impl FnMut() -> bool) {
    let waited = timeout(bound, async {
        while !true_now() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {bound:?}: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_casts_streams_and_watches_go_through_a_relay() {
    let (a, b, c) = three().await;
    a.cut(&b);
    let started = Instant::now();
    assert_eq!(a.ask(&b, 1, 3 * SECOND).await, Ok((1, id("a"))), "the far end knows who asks");
    println!("first call through a relay after {:?}", started.elapsed());
    assert!(started.elapsed() < RELAY_AFTER + SECOND, "{:?}", started.elapsed());
    assert_eq!((a.relayed(&b), b.relayed(&a), c.relayed(&b)), (Some(true), Some(true), Some(false)));
    assert_eq!(b.ask(&a, 2, SECOND).await, Ok((2, id("b"))), "both ways");
    let address = Address::new(&b.id, Who::ACTOR);
    a.mesh.cast::<Who>(&address, 3).await.unwrap();
    until("the cast is handled", SECOND, || b.answers.0.load(Ordering::SeqCst) == 2).await;

    let (granted, mut stream) = a.open(&b, "mirror", b"hello".to_vec()).await.unwrap();
    assert_eq!(granted, "hello");
    stream.send.write_all(b"there and back").await.unwrap();
    stream.send.shutdown().await.unwrap();
    let mut back = String::new();
    stream.receive.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "there and back");

    let ends = async {
        sleep(Duration::from_millis(50)).await;
        b.mesh.exports().withdraw(Who::ACTOR);
    };
    let watched = timeout(5 * SECOND, async { tokio::join!(a.mesh.watch(&address), ends).0 });
    assert_eq!(watched.await, Ok(Ended::Actor));
    assert_eq!((c.mesh.links().carried(), c.mesh.links().counters().relays_carried.get()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_in_one_direction_is_relayed_both_ways() {
    for forth in [true, false] {
        let (a, b, _c) = three().await;
        if forth {
            a.lose_to(&b)
        } else {
            b.lose_to(&a)
        }
        assert_eq!(a.ask(&b, 1, 3 * SECOND).await, Ok((1, id("a"))));
        assert_eq!(b.ask(&a, 2, 3 * SECOND).await, Ok((2, id("b"))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_silent_is_replaced_by_a_relayed_one() {
    let (a, b, _c) = three().await;
    assert_eq!(a.ask(&b, 1, SECOND).await, Ok((1, id("a"))));
    assert_eq!(a.relayed(&b), Some(false));
    a.cut(&b);
    let started = Instant::now();
    let answered = async { while a.ask(&b, 2, SECOND / 2).await.is_err() {} };
    timeout(PATIENCE, answered).await.expect("an answer");
    println!("a silent connection was replaced after {:?}", started.elapsed());
    assert!(started.elapsed() < 6 * SECOND, "{:?}", started.elapsed());
    assert_eq!(a.relayed(&b), Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_direct_way_is_back_it_is_used_and_nobody_on_the_relayed_one_notices() {
    let (a, b, c) = three().await;
    a.cut(&b);
    assert_eq!(a.ask(&b, 1, 3 * SECOND).await, Ok((1, id("a"))));
    let (_, mut stream) = a.open(&b, "mirror", Vec::new()).await.unwrap();
    a.heal();
    b.heal();
    let direct = || a.relayed(&b) == Some(false) && b.relayed(&a) == Some(false);
    until("direct again", DIRECT_FIRST * 2, direct).await;
    assert_eq!(a.ask(&b, 2, SECOND).await, Ok((2, id("a"))));
    stream.send.write_all(b"still here").await.unwrap();
    stream.send.shutdown().await.unwrap();
    let mut back = String::new();
    stream.receive.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "still here");
    drop(stream);
    until("nothing is carried any more", PATIENCE, || c.mesh.links().carried() == 0).await;
    assert!(direct());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_relay_dies_another_is_used_or_the_failure_is_typed() {
    let authority = Authority::new();
    let (a, b) = (Node::start(&authority, "a").await, Node::start(&authority, "b").await);
    let (mut c, mut d) = (Node::start(&authority, "c").await, Node::start(&authority, "d").await);
    introduce(&[&a, &b, &c, &d]);
    a.cut(&b);
    assert_eq!(a.ask(&b, 1, 3 * SECOND).await, Ok((1, id("a"))));
    let (first, second) = if c.mesh.links().carried() > 0 { (&mut c, &mut d) } else { (&mut d, &mut c) };
    assert_eq!(first.mesh.links().carried(), 1);
    first.die(&[&a, &b, second]).await;
    let dead = first.id.clone();
    see(&[&a, &b, first, second], |node| if *node == dead { Life::Dead } else { Life::Alive });
    until("the connection through it is over", SECOND, || a.relayed(&b).is_none()).await;
    let started = Instant::now();
    assert_eq!(a.ask(&b, 2, 5 * SECOND).await, Ok((2, id("a"))));
    println!("another relay after {:?}", started.elapsed());
    assert_eq!(second.mesh.links().carried(), 1);
    second.die(&[&a, &b]).await;
    see(&[&a, &b, first, second], |node| if *node == a.id || *node == b.id { Life::Alive } else { Life::Dead });
    until("that one is over too", SECOND, || a.relayed(&b).is_none()).await;
    assert_eq!(a.ask(&b, 3, 5 * SECOND).await, Err(Failure::Unreachable(id("b"))));
}

/// A relay that leads whoever asks to itself.
struct Liar(Arc<QuicFabric>);

#[async_trait]
impl Streams for Liar {
    async fn open(&self, _: &NodeId, _: u16, _: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        Ok(Box::new(Lie(self.0.tunnel().ok_or(Refusal::Busy)?)))
    }
}

struct Lie(Box<dyn crate::mesh::fabric::Tunnel>);

#[async_trait]
impl Stream for Lie {
    async fn serve(self: Box<Self>, duplex: Duplex) {
        pump::run(self.0, duplex).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_answers_in_the_place_of_the_peer_is_refused() {
    let (a, b, c) = three().await;
    a.cut(&b);
    c.mesh.exports().serve_streams(CARRY, 1..=1, Arc::new(Liar(c.fabric.clone())));
    assert_eq!(a.ask(&b, 1, 5 * SECOND).await, Err(Failure::Unreachable(id("b"))));
    assert_eq!((b.answers.0.load(Ordering::SeqCst), c.answers.0.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(a.mesh.links().counters().relayed.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_cannot_speak_in_the_name_of_another() {
    let (_a, b, c) = three().await;
    let header = rmp_serde::to_vec_named(&Arrive { origin: id("a") }).unwrap();
    let (_, stream) = c.open(&b, ARRIVE, header).await.unwrap();
    let tunnel = c.fabric.tunnel().unwrap();
    let at = tunnel.at();
    let pumping = tokio::spawn(pump::run(tunnel, stream));
    let channel = timeout(PATIENCE, c.fabric.dial(&b.id, at)).await.unwrap().unwrap();
    until("it is adopted", SECOND, || b.mesh.links().counters().opened.get() == 2).await;
    assert_eq!(b.mesh.links().connected(), [id("c")], "whatever it said of its origin");
    channel.close(Close::Idle);
    pumping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_takes_only_members_and_carries_nothing_that_is_carried() {
    let (a, b, c) = three().await;
    a.cut(&b);
    let carry = |target: &str| rmp_serde::to_vec_named(&Carry { target: id(target) }).unwrap();
    let refused = |answer: Result<(Bytes, Duplex), Failure>| match answer {
        Err(Failure::Refused(Refusal::Forbidden(_))) => true,
        Err(other) => panic!("{other:?}"),
        Ok(_) => false,
    };
    for target in ["a", "c", "nobody"] {
        assert!(refused(a.open(&c, CARRY, carry(target)).await), "{target}");
    }
    assert!(refused(a.open(&a, CARRY, carry("b")).await), "not for itself");
    assert_eq!(a.ask(&b, 1, 3 * SECOND).await, Ok((1, id("a"))));
    assert!(refused(a.open(&b, CARRY, carry("c")).await), "a chain");
    let header = rmp_serde::to_vec_named(&Arrive { origin: id("c") }).unwrap();
    assert!(refused(a.open(&b, ARRIVE, header).await), "a tunnel in a tunnel");
    assert_eq!(c.mesh.links().carried(), 1);
    let garbage = a.open(&c, CARRY, vec![0xff; 9]).await;
    assert!(matches!(garbage, Err(Failure::Refused(Refusal::UnknownMessage(_)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_has_no_direct_way_itself_does_not_ask_another() {
    let (a, b, c) = three().await;
    a.cut(&b);
    c.cut(&b);
    assert_eq!(a.ask(&b, 1, 5 * SECOND).await, Err(Failure::Unreachable(id("b"))));
    assert_eq!(c.mesh.links().counters().relayed.get() + a.mesh.links().counters().relays_carried.get(), 0);
    assert_eq!(c.mesh.links().carried(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_goes_through_a_relay_whole_and_quickly() {
    const BYTES: usize = 8 << 20;
    let (a, b, c) = three().await;
    a.cut(&b);
    for (from, what) in [(&c, "direct"), (&a, "relayed")] {
        assert_eq!(from.ask(&b, 0, 3 * SECOND).await, Ok((0, from.id.clone())));
        let mut samples = Vec::new();
        for number in 0..300 {
            let before = Instant::now();
            assert_eq!(from.ask(&b, number, SECOND).await, Ok((number, from.id.clone())));
            samples.push(before.elapsed());
        }
        samples.sort_unstable();
        println!("{what} call: p50 {:?}, p99 {:?}", samples[150], samples[297]);
    }

    let (_, Duplex { mut send, mut receive }) = a.open(&b, "mirror", Vec::new()).await.unwrap();
    let started = Instant::now();
    let written = async move {
        for block in 0..BYTES / 4096 {
            send.write_all(&[(block % 251) as u8; 4096]).await.unwrap();
        }
        send.shutdown().await.unwrap();
    };
    let read = async {
        let mut back = Vec::new();
        receive.read_to_end(&mut back).await.unwrap();
        back
    };
    let ((), back) = timeout(PATIENCE, async { tokio::join!(written, read) }).await.unwrap();
    assert_eq!(back.len(), BYTES);
    assert!(back.chunks(4096).enumerate().all(|(block, bytes)| bytes.iter().all(|byte| *byte == (block % 251) as u8)));
    println!("{} MiB there and back in {:?}", BYTES >> 20, started.elapsed());
    for node in [&a, &b, &c] {
        let shed = node.endpoint.counters().each().find(|(name, _)| *name == "tunnel_shed").unwrap().1;
        println!(
            "{}: {shed} packets shed, {} bytes carried",
            node.id,
            node.mesh.links().counters().relayed_bytes.get()
        );
    }
}
