//! Figures of gossip: how fast news spread, what it costs, how fast death is seen, whether the living are left alone.

use std::time::Duration;

use rand::Rng;

use super::world::{Weather, World, micros, name};
use crate::mesh::member::{Life, Meta};
use crate::mesh::membership::{Acquaintance, Membership, Settings};
use crate::model::{NodeId, Timestamp};

/// A cluster whose members all know each other.
pub fn acquainted(nodes: usize, seed: u64, weather: Weather) -> World {
    let mut world = World::new(seed, Settings::default(), weather);
    for _ in 0..nodes {
        let node = world.place();
        world.start(node, &[], &[]);
    }
    let all: Vec<Acquaintance> =
        world.places.iter().filter_map(|place| place.core.as_ref().map(Membership::acquaintance)).collect();
    let start = Timestamp(1_800_000_000_000_000);
    let chunk = nodes.div_ceil(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).max(1);
    std::thread::scope(|scope| {
        for places in world.places.chunks_mut(chunk) {
            scope.spawn(|| {
                for core in places.iter_mut().filter_map(|place| place.core.as_mut()) {
                    core.acquaint(start, &all);
                    core.drain();
                }
            });
        }
    });
    world.run_for(Duration::from_millis(500));
    world
}

/// How long a change takes to reach `part` of the members, [`None`] where it does not within ten seconds.
pub fn spread(world: &mut World, part: f64) -> Option<Duration> {
    let (who, since) = (world.rng.random_range(0..world.places.len()), world.now);
    let about = name(who);
    let version = seen(world, who, &about)?.1;
    let meta = Meta { role: "voter".into(), release: format!("0.{version}.0"), ..Meta::default() };
    world.with(who, |core, now| assert!(core.tell(now, meta).is_ok(), "it is small"));
    let nodes = world.places.len();
    let mut lacking: Vec<usize> = (0..nodes).filter(|node| *node != who).collect();
    let may_lack = (nodes as f64 * (1.0 - part)) as usize;
    while lacking.len() > may_lack {
        if world.now - since > micros(Duration::from_secs(10)) {
            return None;
        }
        world.run_for(Duration::from_millis(10));
        lacking.retain(|node| seen(world, *node, &about).is_none_or(|(_, known)| known <= version));
    }
    Some(elapsed(world, since))
}

/// Bytes that a node sends in a second, network headers included: mean and most.
pub fn background(world: &mut World, time: Duration) -> (f64, f64) {
    for place in &mut world.places {
        place.sent = 0;
    }
    world.run_for(time);
    let rates = world.places.iter().map(|place| place.sent as f64 / time.as_secs_f64());
    let (sum, most) = rates.fold((0.0, 0.0_f64), |(sum, most), rate| (sum + rate, most.max(rate)));
    (sum / world.places.len() as f64, most)
}

/// How long after its sudden end each other node holds a node for dead; one that does not within ten seconds counts
/// as ten. The node is started anew afterwards.
pub fn detection(world: &mut World) -> Vec<Duration> {
    let (who, since) = (world.rng.random_range(0..world.places.len()), world.now);
    let about = name(who);
    world.kill(who);
    let mut blind: Vec<usize> = (0..world.places.len()).filter(|node| *node != who).collect();
    let mut times = Vec::with_capacity(blind.len());
    while !blind.is_empty() && world.now - since < micros(Duration::from_secs(10)) {
        world.run_for(Duration::from_millis(5));
        let before = blind.len();
        blind.retain(|node| seen(world, *node, &about).is_none_or(|(life, _)| life != Life::Dead));
        times.resize(times.len() + before - blind.len(), elapsed(world, since));
    }
    times.resize(times.len() + blind.len(), Duration::from_secs(10));
    let seed = (who + 1) % world.places.len();
    world.start(who, &[], &[seed]);
    let pause = Duration::from_millis(2_000 + world.rng.random_range(0..500));
    world.run_for(pause);
    times
}

/// What a long life under loss did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lives {
    /// Members declared dead, though none died.
    pub deaths: u64,
    /// Suspicions that were told.
    pub suspicions: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
}

/// `nodes` live for `time`; one in ten stands still for up to a second, a few seconds apart.
pub fn lives(nodes: usize, time: Duration, loss: f64, seed: u64) -> Lives {
    let mut world = acquainted(nodes, seed, Weather { loss, ..Weather::default() });
    let end = world.now + micros(time);
    while world.now < end {
        for node in (0..nodes).step_by(10) {
            if world.rng.random_bool(0.2) {
                let still = Duration::from_millis(world.rng.random_range(1..=1_000));
                world.pause(node, still);
            }
        }
        world.run_for(Duration::from_secs(1));
    }
    world.places.iter().fold(Lives::default(), |sum, place| {
        let counts = place.core.as_ref().map(Membership::counts).unwrap_or_default();
        Lives {
            deaths: sum.deaths + counts.declared,
            suspicions: sum.suspicions + counts.suspected,
            datagrams: sum.datagrams + place.datagrams,
        }
    })
}

/// The value below which `part` of the sorted values are.
pub fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(at - 1).copied().unwrap_or_default()
}

fn elapsed(world: &World, since: i64) -> Duration {
    Duration::from_micros(u64::try_from(world.now - since).unwrap_or(0))
}

fn seen(world: &World, by: usize, about: &NodeId) -> Option<(Life, u64)> {
    world.places.get(by)?.core.as_ref()?.member(about)
}
