//! Leaders that hand over and leaders that are killed, while clients of another member write. A wait is the longest time
//! between two acknowledgements to any of them.

use std::path::Path;
use std::time::Duration;

use super::cluster::Shoal;
use super::etcd::Etcd;
use super::figures::{waits, waits_head};
use super::protocol::{Answer, Command, Gap};
use crate::Failure;

const CLIENTS: usize = 16;
/// How long they write, and after how long something happens.
const LOAD_MILLIS: u64 = 3_000;
const HAPPENS_AFTER: Duration = Duration::from_millis(800);
const HAND_OVERS: usize = 10;
/// Hand-overs take no time: a shorter load does.
const SHORT_MILLIS: u64 = 1_200;
/// Killed leaders of etcd, at most: it takes seconds.
const ETCD_RUNS: u32 = 8;

/// What clients saw in all runs.
#[derive(Default)]
struct Seen {
    gaps: Vec<u32>,
    errors: usize,
    acknowledged: usize,
    lost: usize,
}

impl Seen {
    fn add(&mut self, gap: &Gap) -> Result<(), Failure> {
        self.gaps.push(u32::try_from(gap.longest_micros)?);
        self.errors += gap.errors;
        self.acknowledged += gap.acknowledged;
        Ok(())
    }
}

pub async fn hand_overs(shoal: &mut Shoal, etcd: &mut Etcd) -> Result<(), Failure> {
    waits_head("Planned hand-over while 16 clients write through a third member (reach: 50 ms)");
    let (mut calls, mut seen, file) = (Vec::new(), Seen::default(), shoal.members[0].settings.dir.join("../load"));
    for _ in 0..HAND_OVERS {
        let leader = shoal.leader()?;
        let (to, third) = ((leader + 1) % 3, (leader + 2) % 3);
        shoal.members[third].tell(&load(SHORT_MILLIS, &file))?;
        tokio::time::sleep(HAPPENS_AFTER).await;
        let raft_id = shoal.members[to].settings.raft_id;
        let Answer::Took(micros) = shoal.members[leader].ask(&Command::HandOver { to: raft_id })? else {
            return Err("no hand-over".into());
        };
        calls.push(u32::try_from(micros)?);
        seen.add(&shoal.members[third].gap()?)?;
    }
    waits("shoal, the call", &calls, "");
    waits("shoal, gap in writes", &seen.gaps, &format!("{} errors", seen.errors));
    let (mut calls, mut seen) = (Vec::new(), Seen::default());
    for _ in 0..HAND_OVERS {
        let (to, third) = ((etcd.leader + 1) % 3, (etcd.leader + 2) % 3);
        let (gap, call) = tokio::join!(etcd.load(third, CLIENTS, SHORT_MILLIS), async {
            tokio::time::sleep(HAPPENS_AFTER).await;
            etcd.hand_over(to).await
        });
        calls.push(u32::try_from(call?)?);
        seen.add(&gap?)?;
        etcd.settle().await?;
    }
    waits("etcd, the call", &calls, "");
    waits("etcd, gap in writes", &seen.gaps, &format!("{} errors", seen.errors));
    Ok(())
}

fn load(millis: u64, file: &Path) -> Command {
    Command::Load { clients: CLIENTS, millis, file: file.into() }
}

pub async fn kills(shoal: &mut Shoal, etcd: &mut Etcd, runs: u32) -> Result<(), Failure> {
    waits_head("Leader killed with kill -9 while 16 clients write through another member (reach: p99 700 ms, 0 lost)");
    let mut seen = Seen::default();
    for run in 0..runs {
        kill(shoal, run, &mut seen).await?;
    }
    let told = |seen: &Seen| format!("{} acknowledged, {} errors to clients", seen.acknowledged, seen.errors);
    waits("shoal, gap in writes", &seen.gaps, &format!("{}, {} LOST", told(&seen), seen.lost));
    if seen.lost > 0 {
        return Err("acknowledged writes were lost".into());
    }
    let mut seen = Seen::default();
    for _ in 0..runs.min(ETCD_RUNS) {
        let leader = etcd.leader;
        let through = (leader + 1) % 3;
        let pid = etcd.pid(leader);
        let (gap, ()) = tokio::join!(etcd.load(through, CLIENTS, 2 * LOAD_MILLIS), async {
            tokio::time::sleep(HAPPENS_AFTER).await;
            kill_process(pid);
        });
        seen.add(&gap?)?;
        etcd.kill(leader);
        etcd.restart(leader).await?;
    }
    waits("etcd, gap in writes", &seen.gaps, &told(&seen));
    Ok(())
}

fn kill_process(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

/// Kills the leader under load, then looks for every acknowledged write in all three, the one that was killed too.
async fn kill(shoal: &mut Shoal, run: u32, seen: &mut Seen) -> Result<(), Failure> {
    let leader = shoal.leader()?;
    let through = (leader + 1 + run as usize % 2) % 3;
    let file = shoal.members[0].settings.dir.join(format!("../load-{run}"));
    shoal.members[through].tell(&load(LOAD_MILLIS, &file))?;
    tokio::time::sleep(HAPPENS_AFTER).await;
    shoal.members[leader].kill();
    seen.add(&shoal.members[through].gap()?)?;
    shoal.restart(leader)?;
    for member in &mut shoal.members {
        match member.ask(&Command::Check { file: file.clone() })? {
            Answer::Missing(missing) => seen.lost += missing,
            other => return Err(format!("not counted: {other:?}").into()),
        }
    }
    Ok(())
}
