//! The whole node, from outside: start, replicas, creates, lists, memory, idle writes. Prints each figure beside what
//! Kubernetes 1.36.2 with etcd 3.5 and containerd 2.1 took on the same class of machine (2 cores), and the ratio.
//!
//! `cargo bench --bench node`. Needs root. `BENCH_RUNTIME` chooses the runtime (embedded).

mod node {
    pub mod process;
    pub mod wire;
}

use std::time::{Duration, Instant};

use node::process::{self, Node, poll};
use node::wire::Wire;

type Failure = Box<dyn std::error::Error>;

/// Kubernetes' figures, from five processes on two cores.
const PEER_API_READY_MS: f64 = 2_600.0;
const PEER_ONE_MS: f64 = 1_330.0;
const PEER_THIRTY_MS: f64 = 7_500.0;
const PEER_HUNDRED_MS: f64 = 32_500.0;
const PEER_CREATES: f64 = 910.0;
const PEER_LIST_MS: f64 = 1_850.0;
const PEER_MEMORY_MB: f64 = 1_500.0;

const CREATES: usize = 9_200;
const CONNECTIONS: usize = 32;
/// How long an idle node is looked at.
const IDLE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{:<44} {:>12} {:>12} {:>9}", "figure", "shoal", "kubernetes", "ratio");
    let binary = std::fs::metadata(process::binary())?.len();
    println!("{:<44} {:>9.1} MB", "binary (reach 40 MB)", megabytes(binary));
    let parts = std::env::var("BENCH_PARTS").unwrap_or_else(|_| "pods,objects".into());
    if parts.contains("pods") {
        runtime.block_on(pods())?;
    }
    if parts.contains("objects") {
        runtime.block_on(objects())?;
    }
    Ok(())
}

/// Start and replicas, on a real runtime.
async fn pods() -> Result<(), Failure> {
    let kind = std::env::var("BENCH_RUNTIME").unwrap_or_else(|_| "embedded".into());
    let node = Node::start(&kind).await?;
    starts(&node);
    node.apply(&deployment(0, "warm"))?;
    scale(&node, "warm", 1).await?;
    node.apply(&deployment(0, "web"))?;
    row(&format!("{kind}: one replica Ready (reach 300 ms)"), scale(&node, "web", 1).await?, PEER_ONE_MS);
    row(&format!("{kind}: 30 more (reach 2 s)"), scale(&node, "web", 31).await?, PEER_THIRTY_MS);
    row(&format!("{kind}: 100 more (reach 7 s)"), scale(&node, "web", 131).await?, PEER_HUNDRED_MS);
    println!("{:<44} {:>9.1} MB", "memory of the process with 132 pods", megabytes(node.usage()?.resident));
    Ok(())
}

fn starts(node: &Node) {
    row("API ready after start (reach 200 ms)", node.api_ready, PEER_API_READY_MS);
    row("node Ready after start (reach 500 ms)", node.node_ready, PEER_API_READY_MS);
}

/// Creates and lists, which no container stands behind: the pods ask for a node that is not there.
async fn objects() -> Result<(), Failure> {
    let node = Node::start("hollow").await?;
    starts(&node);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = node.usage()?;
    let idle = megabytes(before.resident);
    println!(
        "{:<44} {idle:>9.1} MB {PEER_MEMORY_MB:>9.0} MB {:>8.0}x",
        "memory idle (reach 40 MB)",
        PEER_MEMORY_MB / idle
    );
    tokio::time::sleep(IDLE).await;
    let after = node.usage()?;
    println!("{:<44} {:>10} B", "written to disk in 20 idle s (reach 0)", after.written - before.written);
    println!("{:<44} {:>9.0} ms", "CPU in 20 idle s", (after.cpu - before.cpu) * 1e3);
    creates(&node).await?;
    lists(&node).await?;
    println!("{:<44} {:>9.1} MB", "memory with them", megabytes(node.usage()?.resident));
    let before = node.usage()?;
    tokio::time::sleep(IDLE).await;
    println!("{:<44} {:>9.0} ms", "CPU in the 20 s after", (node.usage()?.cpu - before.cpu) * 1e3);
    Ok(())
}

async fn creates(node: &Node) -> Result<(), Failure> {
    let mut wires = Vec::new();
    for _ in 0..CONNECTIONS {
        wires.push(node.door.connect().await?);
    }
    let (body, before, started) = (pod(), node.usage()?, Instant::now());
    let work = wires.into_iter().enumerate().map(|(nth, wire)| create(wire, &body, nth));
    futures::future::try_join_all(work).await?;
    let (took, used) = (started.elapsed(), node.usage()?.cpu - before.cpu);
    let rate = CREATES as f64 / took.as_secs_f64();
    println!(
        "{:<44} {rate:>10.0}/s {PEER_CREATES:>10.0}/s {:>8.1}x",
        "durable pod creates (reach 5,000/s)",
        rate / PEER_CREATES
    );
    println!("{:<44} {:>9.0} us", "CPU of the node for each", used * 1e6 / CREATES as f64);
    Ok(())
}

/// One connection's share of the creates.
async fn create(mut wire: Wire, body: &str, nth: usize) -> Result<(), Failure> {
    let head = "POST /api/v1/namespaces/default/pods HTTP/1.1\r\ncontent-type: application/json\r\n";
    for i in (nth..CREATES).step_by(CONNECTIONS) {
        let body = body.replacen("NAME", &format!("pod-{i:05}"), 1);
        let answer = wire.send(head, body.as_bytes(), false).await?;
        if answer.code != 201 {
            return Err(format!("a create answered {}", answer.code).into());
        }
    }
    Ok(())
}

async fn lists(node: &Node) -> Result<(), Failure> {
    let mut wire = node.door.connect().await?;
    let (mut bytes, mut best, rounds) = (0, Duration::MAX, 7);
    let before = node.usage()?;
    for _ in 0..rounds {
        let started = Instant::now();
        let answer = wire.send("GET /api/v1/pods HTTP/1.1\r\n", b"", false).await?;
        (bytes, best) = (answer.bytes, best.min(started.elapsed()));
    }
    let used = (node.usage()?.cpu - before.cpu) * 1e3 / f64::from(rounds);
    let what = format!("list of {CREATES} pods, {:.0} MB (reach 150 ms)", megabytes(bytes as u64));
    row(&what, best, PEER_LIST_MS);
    println!("{:<44} {used:>9.0} ms", "CPU of the node for one");
    Ok(())
}

async fn scale(node: &Node, name: &str, replicas: u32) -> Result<Duration, Failure> {
    let mut wire = node.door.connect().await?;
    let started = Instant::now();
    let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
    let body = format!(r#"{{"spec":{{"replicas":{replicas}}}}}"#);
    let head = format!("PATCH {path} HTTP/1.1\r\ncontent-type: application/merge-patch+json\r\n");
    wire.send(&head, body.as_bytes(), false).await?;
    poll(&mut wire, &path, |body| body.contains(&format!(r#""readyReplicas":{replicas},"#))).await?;
    Ok(started.elapsed())
}

fn row(what: &str, took: Duration, peer_ms: f64) {
    let ms = took.as_secs_f64() * 1e3;
    println!("{what:<44} {ms:>9.0} ms {peer_ms:>9.0} ms {:>8.1}x", peer_ms / ms);
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn deployment(replicas: u32, name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - {{name: c, image: \
         \"shoal.local/toolbox:latest\", imagePullPolicy: IfNotPresent, args: [sleep, forever]}}\n"
    )
}

/// A pod of about 5.6 KB as stored, as real ones are, that no node takes.
fn pod() -> String {
    let env: Vec<String> = (0..50)
        .map(|i| {
            format!(
                r#"{{"name":"SETTING_NUMBER_{i}","value":"a value of the usual length, number {i}, for the bench"}}"#
            )
        })
        .collect();
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"NAME","labels":{{"app":"bench"}}}},"spec":{{"nodeSelector":{{"bench":"nowhere"}},"containers":[{{"name":"c","image":"shoal.local/toolbox:latest","args":["sleep","forever"],"resources":{{"requests":{{"cpu":"10m","memory":"16Mi"}}}},"env":[{}]}}]}}}}"#,
        env.join(",")
    )
}
