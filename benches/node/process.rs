//! A node as a process of its own, and what it uses.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::wire::{Door, Wire};
use crate::Failure;

/// Clock ticks in a second, as `/proc` counts (fixed on Linux).
const TICKS: f64 = 100.0;

/// A running node.
pub struct Node {
    data: tempfile::TempDir,
    process: Child,
    pub door: Door,
    pub api_ready: Duration,
    pub node_ready: Duration,
}

/// What a process has used.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Seconds of CPU.
    pub cpu: f64,
    /// Resident bytes.
    pub resident: u64,
    /// Bytes sent to the disk.
    pub written: u64,
}

impl Node {
    pub async fn start(runtime: &str) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let settings = data.path().join("bench.toml");
        let network = "bridge = \"shbench\"\ntable = \"shoal_bench\"\npod_cidr = \"10.199.0.0/22\"\n";
        std::fs::write(&settings, format!("[network]\n{network}[agent]\nmax_pods = 250\n"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::fs::File::create(data.path().join("log"))?;
        let started = Instant::now();
        let process = Command::new(binary())
            .args(["up", "--name", "bench", "--runtime", runtime, "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data.path().join("node"))
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let door = door(&data.path().join("node/admin.kubeconfig")).await?;
        let mut wire = first(&door).await?;
        poll(&mut wire, "/readyz", |body| body == "ok").await?;
        let api_ready = started.elapsed();
        poll(&mut wire, "/api/v1/nodes/bench", |body| body.contains(r#""reason":"KubeletReady""#)).await?;
        let node_ready = started.elapsed();
        Ok(Self { data, process, door, api_ready, node_ready })
    }

    pub fn apply(&self, manifest: &str) -> Result<(), Failure> {
        let file = self.data.path().join("manifest.yaml");
        std::fs::write(&file, manifest)?;
        let done = Command::new(binary())
            .env("KUBECONFIG", self.data.path().join("node/admin.kubeconfig"))
            .args(["apply", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .status()?;
        if done.success() { Ok(()) } else { Err("apply failed".into()) }
    }

    /// What the process has used until now.
    pub fn usage(&self) -> Result<Usage, Failure> {
        let stat = self.proc("stat")?;
        let after_name = stat.rsplit_once(')').ok_or("no name in stat")?.1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Usage {
            cpu: ticks as f64 / TICKS,
            resident: field(&self.proc("status")?, "VmRSS:")? * 1024,
            written: field(&self.proc("io")?, "write_bytes:")?,
        })
    }

    fn proc(&self, file: &str) -> Result<String, Failure> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id()))?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let mut down = Command::new(binary());
        down.arg("down").arg("--data").arg(self.data.path().join("node"));
        let _ = down.arg("--config").arg(self.data.path().join("bench.toml")).output();
    }
}

/// The binary under test; `BENCH_BINARY` names another.
pub fn binary() -> String {
    std::env::var("BENCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_shoal").into())
}

/// Asks until the answer is as wanted.
pub async fn poll(wire: &mut Wire, path: &str, accept: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = wire.get(path).await?;
        if answer.code == 200 && accept(std::str::from_utf8(&answer.body)?) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{path} never said what it should").into());
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

async fn door(kubeconfig: &Path) -> Result<Door, Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let file = loop {
        match Kubeconfig::read_from(kubeconfig) {
            Ok(file) => break file,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    Door::new(&kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}

async fn first(door: &Door) -> Result<Wire, Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match door.connect().await {
            Ok(wire) => return Ok(wire),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

fn field(text: &str, name: &str) -> Result<u64, Failure> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
