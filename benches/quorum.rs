//! The replicated store beside etcd: three members each on the loopback interface, a process each, TLS on, fsync on, all on
//! one disk, measured in turns in one run.
//!
//! `cargo bench --bench quorum`. About six minutes with the defaults; never more than twice that, then it gives up.
//!
//! | variable | |
//! | --- | --- |
//! | `BENCH_PARTS` | of: writes, reads, watches, handover, kills, objects |
//! | `BENCH_RUNS` | leaders killed with `kill -9` (10; 50 for the record) |
//! | `BENCH_OBJECTS` | objects of 3 KB in the part `objects` (100,000; 1,000,000 for the record) |
//! | `BENCH_DIR` | where the members keep their data: a directory on a real disk (`target/bench/quorum`) |
//!
//! Clients of our store are in a member's process, because that is where the API is: "at the leader" in the leader's,
//! "through a follower" in another one, which passes each write on over the mesh. Clients of etcd are in the bench's process
//! and ask its leader over HTTP/2 with TLS, a connection for every 16 of them. "through a follower" is thus the like of
//! etcd's: a process asks another.

mod quorum {
    pub mod cluster;
    pub mod etcd;
    pub mod faults;
    pub mod figures;
    pub mod member;
    pub mod objects;
    pub mod protocol;
    pub mod throughput;
    pub mod wire;
    pub mod work;
}
#[allow(dead_code)]
#[path = "mesh/paper.rs"]
mod paper;

use std::path::PathBuf;
use std::time::Duration;

use quorum::cluster::Shoal;
use quorum::etcd::Etcd;
use quorum::{faults, figures, objects, throughput};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// After this time the bench ends itself and everything that it started.
const GIVES_UP_AFTER: Duration = Duration::from_mins(12);
/// The same for each killed leader and each object, beyond what the defaults need.
const PER_RUN: Duration = Duration::from_secs(8);
const PER_OBJECT: Duration = Duration::from_micros(600);

/// What the variables say.
pub struct Plan {
    parts: String,
    pub runs: u32,
    pub objects: u64,
    pub dir: PathBuf,
}

fn main() -> Result<(), Failure> {
    if let Ok(settings) = std::env::var(quorum::protocol::MEMBER) {
        return quorum::member::run(&settings);
    }
    let plan = plan()?;
    let patience = GIVES_UP_AFTER + PER_RUN * plan.runs + PER_OBJECT * u32::try_from(plan.objects)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let measured = runtime.block_on(async { tokio::time::timeout(patience, measure(&plan)).await });
    let _ = std::fs::remove_dir_all(&plan.dir);
    measured.map_err(|_| format!("not done within {} s", patience.as_secs()))?
}

fn plan() -> Result<Plan, Failure> {
    let named = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    Ok(Plan {
        parts: named("BENCH_PARTS", "writes,reads,watches,handover,kills,objects"),
        runs: named("BENCH_RUNS", "10").parse().map_err(|_| "BENCH_RUNS is not a number")?,
        objects: named("BENCH_OBJECTS", "100000").parse().map_err(|_| "BENCH_OBJECTS is not a number")?,
        dir: PathBuf::from(named("BENCH_DIR", "target/bench/quorum")).join(std::process::id().to_string()),
    })
}

async fn measure(plan: &Plan) -> Result<(), Failure> {
    let wants = |part: &str| plan.parts.split(',').any(|named| named.trim() == part);
    println!("{}", figures::machine()?);
    if ["writes", "reads", "watches", "handover", "kills"].into_iter().any(wants) {
        let authority = paper::Authority::new();
        let mut shoal = Shoal::start(&plan.dir.join("shoal"), &authority)?;
        let mut etcd = Etcd::start(&plan.dir.join("etcd"), &authority, 3).await?;
        if wants("writes") {
            throughput::writes(&mut shoal, &etcd).await?;
        }
        if wants("reads") {
            throughput::reads(&mut shoal, &etcd).await?;
        }
        if wants("watches") {
            throughput::watches(&mut shoal, &etcd).await?;
        }
        if wants("handover") {
            faults::hand_overs(&mut shoal, &mut etcd).await?;
        }
        if wants("kills") {
            faults::kills(&mut shoal, &mut etcd, plan.runs).await?;
        }
    }
    if wants("objects") {
        objects::run(plan).await?;
    }
    println!("{}", figures::machine()?);
    Ok(())
}
