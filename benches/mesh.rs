//! What the mesh costs beside bare quinn: calls, bulk, handshakes, memory of an idle peer. Both ends in one process, over
//! the loopback interface.
//!
//! `cargo bench --bench mesh`. Bare quinn is one connection with its defaults and the same certificates.

#[path = "mesh/paper.rs"]
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
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long each figure is measured.
const RUN: Duration = Duration::from_secs(3);
/// Calls at a time.
const IN_FLIGHT: usize = 64;
/// Bytes of a request and of its answer.
const BODY: usize = 256;
/// Connections whose memory is measured.
const IDLE_PEERS: usize = 1_000;
/// Handshakes at a time.
const HANDSHAKES: usize = 32;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("{:<44} {:>12} {:>10} {:>10}", "what", "per second", "p50 us", "p99 us");
        let authority = Authority::new();
        idle(&authority).await;
        raw::calls(&authority).await;
        calls(&authority).await;
        raw::bulk(&authority).await;
        bulk(&authority).await;
        handshakes(&authority).await;
    });
}

/// Prints a line of figures.
pub fn report(what: &str, count: usize, took: Duration, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |quantile: usize| samples.get(samples.len() * quantile / 100).map_or(0, Duration::as_micros);
    println!("{what:<44} {:>12.0} {:>10} {:>10}", count as f64 / took.as_secs_f64(), at(50), at(99));
}

/// Prints a throughput.
pub fn report_bulk(what: &str, bytes: usize, took: Duration) {
    println!("{what:<44} {:>7.2} Gbit/s", bytes as f64 * 8.0 / 1e9 / took.as_secs_f64());
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
    let (chunk, started) = (vec![7; 1 << 18], Instant::now());
    while started.elapsed() < RUN {
        send.write_all(&chunk).await.expect("written");
    }
    send.shutdown().await.expect("ended");
    let (bytes, _accepted) = reading.await.expect("read");
    report_bulk("mesh, one stream", bytes, started.elapsed());
}

async fn handshakes(authority: &Authority) {
    let (_a, _b, dialled, _accepted) = pair(authority).await;
    let at = dialled.remote();
    let (here, there) = (_a.fabric(), _b.fabric());
    let accepting = tokio::spawn(async move { while there.accept().await.is_some() {} });
    let started = Instant::now();
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
    report("mutual-TLS handshakes, 32 at a time", samples.len(), started.elapsed(), samples);
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
        resident()
    };
    // The first ones fill the allocator's pages.
    let before = dial(200).await;
    let after = dial(IDLE_PEERS).await;
    let each = (after - before) as f64 / (2 * IDLE_PEERS) as f64;
    println!("{:<44} {each:>12.0} bytes an end", "idle connection (resident memory)");
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
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
        let started = Instant::now();
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
        report(what, samples.len(), started.elapsed(), samples);
    }
}
