//! A store of many objects: how long its start takes, and how much memory it has then. One member each.

use std::time::{Duration, Instant};

use super::cluster::{Member, ports};
use super::etcd::Etcd;
use super::figures::{processor_of, resident};
use super::protocol::{Command, Settings};
use crate::paper::Authority;
use crate::{Failure, Plan};

const BYTES: usize = 3 * 1024;
const MEGABYTE: f64 = 1024.0 * 1024.0;

pub async fn run(plan: &Plan) -> Result<(), Failure> {
    let objects = plan.objects;
    println!("\n{objects} objects of 3 KB, {} MB (reach for 1,000,000: start in 10 s)", objects * 3 / 1024);
    println!("{:<34} {:>9} {:>9} {:>9} {:>12}", "who", "fill s", "start s", "CPU s", "resident MB");
    let authority = Authority::new();
    let dir = plan.dir.join("objects");
    shoal(plan, &authority, dir.join("shoal"))?;
    let before = Instant::now();
    let mut etcd = Etcd::start(&dir.join("etcd"), &authority, 1).await?;
    etcd.fill(objects, BYTES).await?;
    let filled = before.elapsed();
    etcd.kill(0);
    let before = Instant::now();
    etcd.restart(0).await?;
    line("etcd, one member", filled, before.elapsed(), etcd.pid(0))
}

fn shoal(plan: &Plan, authority: &Authority, dir: std::path::PathBuf) -> Result<(), Failure> {
    let papers = dir.join("papers");
    authority.node("n1").write(&papers, "n1")?;
    let at = ports(1)?.first().copied().ok_or("no port")?;
    let settings = Settings { name: "n1".into(), raft_id: 1, dir: dir.join("n1"), papers, at, peers: Vec::new() };
    let before = Instant::now();
    let mut member = Member::start(settings.clone())?;
    member.ask(&Command::Fill { objects: plan.objects, bytes: BYTES })?;
    let filled = before.elapsed();
    member.ask(&Command::Close)?;
    drop(member);
    let before = Instant::now();
    let mut member = Member::start(settings)?;
    member.ask(&Command::CatchUp)?;
    line("shoal, one member", filled, before.elapsed(), member.pid())
}

fn line(who: &str, filled: Duration, start: Duration, pid: u32) -> Result<(), Failure> {
    let (filled, start, memory) = (filled.as_secs_f64(), start.as_secs_f64(), resident(pid)? as f64 / MEGABYTE);
    let processor = processor_of(pid).as_secs_f64();
    println!("{who:<34} {filled:>9.1} {start:>9.2} {processor:>9.2} {memory:>12.0}");
    Ok(())
}
