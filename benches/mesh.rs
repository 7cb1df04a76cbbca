//! What the mesh costs beside bare quinn: calls, bulk, handshakes, memory of an idle peer. Both ends in one process, over
//! the loopback interface.
//!
//! `cargo bench --bench mesh`. Bare quinn is one connection with its defaults and the same certificates.

#[path = "mesh/heap.rs"]
mod heap;
#[path = "mesh/local.rs"]
mod local;
#[path = "mesh/paper.rs"]
#[allow(dead_code)]
mod paper;
#[path = "mesh/raw.rs"]
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use paper::{Authority, port};
use serde::{Deserialize, Serialize};
use shoal::mesh::address::{Address, Class, Refusal};
use shoal::mesh::exports::{Exports, Handler, Protocol};
use shoal::mesh::fabric::{Channel, Fabric};
use shoal::mesh::handle::{Mesh, MeshParts};
use shoal::mesh::member::Meta;
use shoal::mesh::quic::Endpoint;
use shoal::model::NodeId;
use shoal::world::World;
use shoal::world::clock::SystemClock;
use shoal::world::disk::real::RealDisk;
use shoal::world::entropy::SystemEntropy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[global_allocator]
static ALLOCATOR: heap::Counted = heap::Counted;

/// How long each figure is measured.
const RUN: Duration = Duration::from_secs(3);
/// Calls at a time.
const IN_FLIGHT: usize = 64;
/// Bytes of a request and of its answer.
const BODY: usize = 256;
/// Connections whose memory is measured.
pub const IDLE_PEERS: usize = 1_000;
/// Peers whose memory is measured, of which each is a mesh of its own in this process.
const IDLE_MESHES: usize = 400;
/// Local calls.
const ROUNDS: u32 = 200_000;
/// Handshakes at a time.
pub const HANDSHAKES: usize = 32;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let parts = std::env::var("BENCH_PARTS").unwrap_or_else(|_| "idle,local,calls,bulk,handshakes".into());
        let (authority, wanted) = (Authority::new(), |part| parts.split(',').any(|named| named == part));
        if wanted("idle") {
            heap::count(true);
            raw::idle(&authority).await;
            idle(&authority).await;
            idle_mesh(&authority).await;
            heap::count(false);
        }
        if wanted("local") {
            local(&authority).await;
        }
        println!("{:<40} {:>11} {:>8} {:>8} {:>8}", "what", "per second", "p50 us", "p99 us", "CPU us");
        if wanted("calls") {
            raw::calls(&authority).await;
            calls(&authority).await;
        }
        if wanted("bulk") {
            raw::bulk(&authority).await;
            bulk(&authority).await;
        }
        if wanted("handshakes") {
            raw::handshakes(&authority).await;
            handshakes(&authority).await;
        }
    });
}

/// What a run has used so far: time, and the processor's time of this process, which tells more where others use it too.
pub struct Used {
    since: Instant,
    processor: Duration,
}

impl Used {
    /// Begins.
    pub fn begin() -> Self {
        Self { since: Instant::now(), processor: processor_time() }
    }

    /// Prints a line of figures.
    pub fn report(&self, what: &str, mut samples: Vec<Duration>) {
        samples.sort_unstable();
        let at = |quantile: usize| samples.get(samples.len() * quantile / 100).map_or(0, Duration::as_micros);
        let (count, processor) = (samples.len() as f64, processor_time() - self.processor);
        let (rate, each) = (count / self.since.elapsed().as_secs_f64(), processor.as_micros() as f64 / count);
        println!("{what:<40} {rate:>11.0} {:>8} {:>8} {each:>8.1}", at(50), at(99));
    }

    /// Prints a throughput, and what two whole processors would give.
    pub fn report_bulk(&self, what: &str, bytes: usize) {
        let gigabits = bytes as f64 * 8.0 / 1e9;
        let (took, processor) = (self.since.elapsed().as_secs_f64(), (processor_time() - self.processor).as_secs_f64());
        println!(
            "{what:<40} {:>6.2} Gbit/s, {:>6.2} for 2 s of processor",
            gigabits / took,
            2.0 * gigabits / processor
        );
    }
}

/// Time that processors have worked for this process.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = text.rsplit(')').next().expect("the name is over").split_whitespace().skip(11).take(2);
    // A tick is 10 ms on every Linux.
    Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().expect("a number") * 10).sum())
}

/// Two ports and their connection, dialled by the first.
async fn pair(authority: &Authority) -> (Endpoint, Endpoint, Arc<dyn Channel>, Arc<dyn Channel>) {
    let ((a, _), (b, at)) = (port(authority, "a"), port(authority, "b"));
    let (here, there) = (a.fabric(), b.fabric());
    let name = NodeId("b".into());
    let (dialled, accepted) = tokio::join!(here.dial(&name, at), there.accept());
    (a, b, dialled.expect("dialled"), accepted.expect("accepted"))
}

async fn bulk(authority: &Authority) {
    let (_a, _b, dialled, accepted) = pair(authority).await;
    let mut send = dialled.open().await.expect("a stream").send;
    let reading = tokio::spawn(async move {
        let mut receive = accepted.accept().await.expect("a stream").receive;
        let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0);
        while let Ok(read @ 1..) = receive.read(&mut buffer).await {
            bytes += read;
        }
        (bytes, accepted)
    });
    let (chunk, started, used) = (vec![7; 1 << 18], Instant::now(), Used::begin());
    while started.elapsed() < RUN {
        send.write_all(&chunk).await.expect("written");
    }
    send.shutdown().await.expect("ended");
    let (bytes, _accepted) = reading.await.expect("read");
    used.report_bulk("mesh, one stream", bytes);
}

async fn handshakes(authority: &Authority) {
    let (_a, _b, dialled, _accepted) = pair(authority).await;
    let at = dialled.remote();
    let (here, there) = (_a.fabric(), _b.fabric());
    let accepting = tokio::spawn(async move {
        while let Some(accepted) = there.accept().await {
            // Kept until the other end has seen that it was let in.
            tokio::spawn(async move { accepted.closed().await });
        }
    });
    let (started, used) = (Instant::now(), Used::begin());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..HANDSHAKES {
        let here = here.clone();
        tasks.spawn(async move {
            let (name, mut samples) = (NodeId("b".into()), Vec::new());
            while started.elapsed() < RUN {
                let before = Instant::now();
                here.dial(&name, at).await.expect("dialled");
                samples.push(before.elapsed());
            }
            samples
        });
    }
    let samples = tasks.join_all().await.concat();
    used.report("mutual-TLS handshakes, 32 at a time", samples);
    accepting.abort();
}

async fn idle(authority: &Authority) {
    let (a, b, _dialled, _accepted) = pair(authority).await;
    let (here, there, at) = (a.fabric(), b.fabric(), b.local());
    let name = NodeId("b".into());
    let mut kept = Vec::with_capacity(2 * IDLE_PEERS + 400);
    let mut dial = async |number: usize| {
        for _ in 0..number {
            let (dialled, accepted) = tokio::join!(here.dial(&name, at), there.accept());
            kept.push((dialled.expect("dialled"), accepted.expect("accepted")));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        heap::held()
    };
    // With the first ones tables grow that all share.
    let before = dial(200).await;
    let after = dial(IDLE_PEERS).await;
    let each = (after - before) as f64 / (2 * IDLE_PEERS) as f64;
    println!("{:<40} {each:>11.0} bytes an end", "idle connection");
}

/// Both ends of [`IDLE_PEERS`] links with their tasks and one called lane each: meshes of other names call one mesh, all
/// in this process.
async fn idle_mesh(authority: &Authority) {
    let (hub, at) = port(authority, "hub");
    let hub = mesh(&hub, "hub", Vec::new());
    let mut kept = Vec::new();
    let mut figures = Vec::new();
    for number in [IDLE_MESHES / 4, IDLE_MESHES] {
        // A mesh of its own costs memory too: it is there before, and called to itself.
        let mut clients = Vec::with_capacity(number);
        for _ in 0..number {
            let name = format!("n{}-{}", kept.len(), clients.len());
            let (endpoint, _) = port(authority, &name);
            clients.push(mesh(&endpoint, &name, vec![(Some(NodeId("hub".into())), at)]));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = heap::held();
        for client in &clients {
            let to = Address::new(&NodeId("hub".into()), Echo::ACTOR);
            client.call::<Echo>(&to, Ping { id: 1, body: Bytes::new() }, RUN).await.expect("an answer");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        figures.push((heap::held() - before) as f64 / (2 * number) as f64);
        kept.push(clients);
    }
    assert!(hub.links().connected().len() > IDLE_MESHES);
    let each = figures.last().copied().unwrap_or_default();
    println!("{:<40} {each:>11.0} bytes an end", "idle peer, control stream open");
}

/// What a node's call to itself costs, beside the calls that it could be instead.
async fn local(authority: &Authority) {
    let (endpoint, _) = port(authority, "a");
    let mesh = mesh(&endpoint, "a", Vec::new());
    // Inside a task, as every caller is: what `block_on` drives wakes more slowly.
    let figures = tokio::spawn(async move {
        let _ = local::through_mesh(&mesh, ROUNDS).await;
        let alone = local::handler_alone(mesh.me(), ROUNDS).await;
        let through = local::through_mesh(&mesh, ROUNDS).await;
        (alone, through, local::bare_ractor(ROUNDS).await)
    });
    let (alone, through, ractor) = figures.await.expect("measured");
    for (what, nanoseconds) in
        [("the handler alone", alone), ("mesh, local call", through), ("bare ractor call", ractor)]
    {
        println!("{what:<40} {nanoseconds:>11.0} ns");
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Ping {
    id: u64,
    body: Bytes,
}

struct Echo;

impl Protocol for Echo {
    const ACTOR: &'static str = "echo";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = Ping;
    type Answer = Ping;
}

#[async_trait]
impl Handler<Echo> for Echo {
    async fn handle(&self, _: &NodeId, request: Ping) -> Result<Ping, Refusal> {
        Ok(request)
    }
}

fn mesh(endpoint: &Endpoint, name: &str, peers: Vec<(Option<NodeId>, SocketAddr)>) -> Mesh {
    let exports = Exports::default();
    exports.serve::<Echo>(Echo::ACTOR, Arc::new(Echo));
    let world =
        World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) };
    let parts = MeshParts {
        me: NodeId(name.into()),
        generation: 1,
        fabric: endpoint.fabric(),
        exports,
        meta: Meta::default(),
        peers,
        world,
    };
    let (mesh, task) = Mesh::new(parts);
    tokio::spawn(task.run());
    mesh
}

async fn calls(authority: &Authority) {
    let ((a, _), (b, at)) = (port(authority, "a"), port(authority, "b"));
    let name = NodeId("b".into());
    let (here, _there) = (mesh(&a, "a", vec![(Some(name.clone()), at)]), mesh(&b, "b", Vec::new()));
    let to = Address::new(&name, Echo::ACTOR);
    for (what, in_flight) in [("mesh call, one at a time", 1), ("mesh call, 64 in flight", IN_FLIGHT)] {
        let (started, used) = (Instant::now(), Used::begin());
        let mut tasks = tokio::task::JoinSet::new();
        for id in 0..in_flight as u64 {
            let (here, to) = (here.clone(), to.clone());
            tasks.spawn(async move {
                let (ping, mut samples) = (Ping { id, body: vec![7; BODY].into() }, Vec::new());
                while started.elapsed() < RUN {
                    let before = Instant::now();
                    here.call::<Echo>(&to, ping.clone(), RUN).await.expect("an answer");
                    samples.push(before.elapsed());
                }
                samples
            });
        }
        let samples = tasks.join_all().await.concat();
        used.report(what, samples);
    }
}
