//! Writes, reads and watches: what both do in turns of some seconds.

use super::cluster::Shoal;
use super::etcd::Etcd;
use super::figures::{Figure, head, quantile, row, waits, waits_head};
use super::protocol::Command;
use crate::Failure;

/// Clients at a time.
const CLIENTS: [usize; 3] = [1, 64, 512];
/// Turns that each side has for a figure, and how long one is.
const TURNS: usize = 2;
const TURN_MILLIS: u64 = 2_500;
/// Before the first turn of all, so that none has files to make and connections to open.
const WARM_MILLIS: u64 = 1_000;
const WRITE_BYTES: usize = 1024;
const WATCHERS: usize = 10_000;
const CHANGES: usize = 10;

/// One of our members at work, and what all three used meanwhile.
fn turn(shoal: &mut Shoal, member: usize, command: &Command, figure: &mut Figure) -> Result<(), Failure> {
    let before = shoal.processor();
    let samples = shoal.members[member].samples(command)?;
    figure.add(samples, shoal.processor() - before);
    Ok(())
}

/// The four figures of one number of clients, in turns.
async fn turns(shoal: &mut Shoal, etcd: &Etcd, clients: usize, write: bool) -> Result<(), Failure> {
    let leader = shoal.leader()?;
    let follower = (leader + 1) % shoal.members.len();
    let [mut at_leader, mut through, mut peer] = [Figure::default(), Figure::default(), Figure::default()];
    let command = |millis| match write {
        true => Command::Write { clients, millis, bytes: WRITE_BYTES },
        false => Command::Read { clients, millis },
    };
    for _ in 0..TURNS {
        turn(shoal, leader, &command(TURN_MILLIS), &mut at_leader)?;
        let before = etcd.processor();
        let samples = match write {
            true => etcd.write(clients, TURN_MILLIS, WRITE_BYTES).await?,
            false => etcd.read(clients, TURN_MILLIS).await?,
        };
        peer.add(samples, etcd.processor() - before);
        turn(shoal, follower, &command(TURN_MILLIS), &mut through)?;
    }
    row("etcd, at the leader", clients, &peer, None);
    row("shoal, at the leader", clients, &at_leader, Some(&peer));
    row("shoal, through a follower", clients, &through, Some(&peer));
    Ok(())
}

pub async fn writes(shoal: &mut Shoal, etcd: &Etcd) -> Result<(), Failure> {
    head("Writes of 1 KB (reach: rate x 1.5, p99 x 1)");
    let leader = shoal.leader()?;
    let clients = CLIENTS[1];
    shoal.members[leader].samples(&Command::Write { clients, millis: WARM_MILLIS, bytes: WRITE_BYTES })?;
    etcd.write(clients, WARM_MILLIS, WRITE_BYTES).await?;
    for clients in CLIENTS {
        turns(shoal, etcd, clients, true).await?;
    }
    Ok(())
}

pub async fn reads(shoal: &mut Shoal, etcd: &Etcd) -> Result<(), Failure> {
    head("Linearizable reads of 1 KB (reach: rate x 2)");
    for clients in CLIENTS {
        turns(shoal, etcd, clients, false).await?;
    }
    Ok(())
}

pub async fn watches(shoal: &mut Shoal, etcd: &Etcd) -> Result<(), Failure> {
    waits_head("One change to 10,000 watchers, from asking for it until each has it (reach: p99 10 ms)");
    let (leader, command) = (shoal.leader()?, Command::Watch { watchers: WATCHERS, changes: CHANGES });
    let peer = etcd.watch(WATCHERS, CHANGES).await?;
    waits("etcd, 16 streams", &peer.micros, "");
    for (who, member) in [("shoal, at the leader", leader), ("shoal, at a follower", (leader + 1) % 3)] {
        let samples = shoal.members[member].samples(&command)?;
        let ratio = f64::from(quantile(&peer.micros, 0.99)) / f64::from(quantile(&samples.micros, 0.99));
        waits(who, &samples.micros, &format!("p99 x {ratio:.1}"));
    }
    Ok(())
}
