//! The whole node, from outside: start, replicas, creates, lists, memory, idle writes. Prints each figure beside what
//! Kubernetes 1.36.2 with etcd 3.5 and containerd 2.1 took on the same class of machine (2 cores), and the ratio.
//!
//! `cargo bench --bench node`. Needs root. `SHOAL_BENCH_RUNTIME` chooses the runtime (embedded).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};

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

fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{:<44} {:>12} {:>12} {:>9}", "figure", "shoal", "kubernetes", "ratio");
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_shoal"))?.len();
    println!("{:<44} {:>9.1} MB", "binary (reach 40 MB)", megabytes(binary));
    runtime.block_on(pods())?;
    runtime.block_on(objects())
}

/// Start and replicas, on a real runtime.
async fn pods() -> Result<(), Failure> {
    let kind = std::env::var("SHOAL_BENCH_RUNTIME").unwrap_or_else(|_| "embedded".into());
    let node = Node::start(&kind).await?;
    row("API ready after start (reach 200 ms)", node.api_ready, PEER_API_READY_MS);
    row("node Ready after start (reach 500 ms)", node.node_ready, PEER_API_READY_MS);
    node.apply(&deployment(0, "warm"))?;
    node.scale("warm", 1).await?;
    node.apply(&deployment(0, "web"))?;
    row(&format!("{kind}: one replica Ready (reach 300 ms)"), node.scale("web", 1).await?, PEER_ONE_MS);
    row(&format!("{kind}: 30 more (reach 2 s)"), node.scale("web", 31).await?, PEER_THIRTY_MS);
    row(&format!("{kind}: 100 more (reach 7 s)"), node.scale("web", 131).await?, PEER_HUNDRED_MS);
    println!("{:<44} {:>9.1} MB", "memory of the process with 132 pods", megabytes(node.resident()?));
    Ok(())
}

/// Creates and lists, which no container stands behind: the pods ask for a node that is not there.
async fn objects() -> Result<(), Failure> {
    let node = Node::start("hollow").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = megabytes(node.resident()?);
    println!(
        "{:<44} {:>9.1} MB {:>9.0} MB {:>8.0}x",
        "memory idle (reach 40 MB)",
        idle,
        PEER_MEMORY_MB,
        PEER_MEMORY_MB / idle
    );
    let before = node.written()?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    println!("{:<44} {:>10} B", "written to disk in 20 idle s (reach 0)", node.written()? - before);

    let took = node.create_pods(CREATES, CONNECTIONS).await?;
    let rate = CREATES as f64 / took.as_secs_f64();
    println!(
        "{:<44} {:>10.0}/s {:>10.0}/s {:>8.1}x",
        "durable pod creates (reach 5,000/s)",
        rate,
        PEER_CREATES,
        rate / PEER_CREATES
    );
    let (bytes, took) = node.list_pods().await?;
    row(&format!("list of {CREATES} pods, {:.0} MB (reach 150 ms)", megabytes(bytes as u64)), took, PEER_LIST_MS);
    println!("{:<44} {:>9.1} MB", "memory with them", megabytes(node.resident()?));
    Ok(())
}

fn row(what: &str, took: Duration, peer_ms: f64) {
    let ms = took.as_secs_f64() * 1e3;
    println!("{what:<44} {ms:>9.0} ms {peer_ms:>9.0} ms {:>8.1}x", peer_ms / ms);
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

struct Node {
    data: tempfile::TempDir,
    process: Child,
    client: kube::Client,
    config: kube::Config,
    api_ready: Duration,
    node_ready: Duration,
}

impl Node {
    async fn start(runtime: &str) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let settings = data.path().join("bench.toml");
        std::fs::write(
            &settings,
            "[network]\nbridge = \"shbench\"\ntable = \"shoal_bench\"\npod_cidr = \"10.199.0.0/22\"\n",
        )?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::fs::File::create(data.path().join("log"))?;
        let started = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .args(["up", "--name", "bench", "--runtime", runtime, "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data.path().join("node"))
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let (config, client) = connect(&data.path().join("node/admin.kubeconfig")).await?;
        poll("/readyz", &client, |body| body == "ok").await?;
        let api_ready = started.elapsed();
        poll("/api/v1/nodes/bench", &client, |body| body.contains(r#""reason":"KubeletReady""#)).await?;
        let node_ready = started.elapsed();
        Ok(Self { data, process, client, config, api_ready, node_ready })
    }

    fn apply(&self, manifest: &str) -> Result<(), Failure> {
        let file: PathBuf = self.data.path().join("manifest.yaml");
        std::fs::write(&file, manifest)?;
        let done = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .env("KUBECONFIG", self.data.path().join("node/admin.kubeconfig"))
            .args(["apply", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .status()?;
        if done.success() { Ok(()) } else { Err("apply failed".into()) }
    }

    async fn scale(&self, name: &str, replicas: u32) -> Result<Duration, Failure> {
        let started = Instant::now();
        let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
        let body = format!(r#"{{"spec":{{"replicas":{replicas}}}}}"#);
        let patch =
            Request::patch(&path).header("content-type", "application/merge-patch+json").body(body.into_bytes())?;
        self.client.request_text(patch).await?;
        poll(&path, &self.client, |body| body.contains(&format!(r#""readyReplicas":{replicas},"#))).await?;
        Ok(started.elapsed())
    }

    async fn create_pods(&self, count: usize, connections: usize) -> Result<Duration, Failure> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let client = kube::Client::try_from(self.config.clone())?;
            client.request_text(Request::get("/version").body(Vec::new())?).await?;
            clients.push(client);
        }
        let body = pod();
        let started = Instant::now();
        let work = clients.into_iter().enumerate().map(|(nth, client)| {
            let body = body.clone();
            async move {
                for i in (nth..count).step_by(connections) {
                    let body = body.replace("NAME", &format!("pod-{i:05}"));
                    let create = Request::post("/api/v1/namespaces/default/pods")
                        .header("content-type", "application/json")
                        .body(body.into_bytes())
                        .map_err(kube::Error::HttpError)?;
                    client.request_text(create).await?;
                }
                Ok::<(), kube::Error>(())
            }
        });
        futures::future::try_join_all(work).await?;
        Ok(started.elapsed())
    }

    async fn list_pods(&self) -> Result<(usize, Duration), Failure> {
        let mut best = (0, Duration::MAX);
        for _ in 0..5 {
            let started = Instant::now();
            let body = self.client.request_text(Request::get("/api/v1/pods").body(Vec::new())?).await?;
            best = (body.len(), best.1.min(started.elapsed()));
        }
        Ok(best)
    }

    /// Resident memory in bytes.
    fn resident(&self) -> Result<u64, Failure> {
        self.proc_field("status", "VmRSS:").map(|kilobytes| kilobytes * 1024)
    }

    /// Bytes sent to the disk so far.
    fn written(&self) -> Result<u64, Failure> {
        self.proc_field("io", "write_bytes:")
    }

    fn proc_field(&self, file: &str, field: &str) -> Result<u64, Failure> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let mut down = Command::new(env!("CARGO_BIN_EXE_shoal"));
        down.arg("down").arg("--data").arg(self.data.path().join("node"));
        let _ = down.arg("--config").arg(self.data.path().join("bench.toml")).output();
    }
}

async fn connect(kubeconfig: &Path) -> Result<(kube::Config, kube::Client), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let file = loop {
        match Kubeconfig::read_from(kubeconfig) {
            Ok(file) => break file,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = kube::Client::try_from(config.clone())?;
    Ok((config, client))
}

async fn poll(path: &str, client: &kube::Client, accept: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = client.request_text(Request::get(path).body(Vec::new())?).await;
        match answer {
            Ok(body) if accept(&body) => return Ok(()),
            _ if Instant::now() > deadline => return Err(format!("{path} never said what it should").into()),
            _ => tokio::time::sleep(Duration::from_millis(4)).await,
        }
    }
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
    let env: Vec<String> = (0..40)
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
