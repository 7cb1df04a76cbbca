//! Gossip in simulation: how fast a change reaches everybody, what an idle node sends, how fast death is seen, whether
//! the living are left alone, what a member costs in memory. Beside each figure stands what is aimed at.
//!
//! `cargo bench --bench gossip`. `BENCH_LEAST` and `BENCH_MEMBERS` bound the clusters (3, 10000: that takes
//! 10 GB), `BENCH_HOURS` is how many node-hours are lived through (1000), `BENCH_PARTS` chooses (clusters,lives).

use std::time::{Duration, Instant};

use shoal::sim::gossip::measure::{self, Lives, quantile};
use shoal::sim::gossip::world::{Weather, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let (least, most): (usize, usize) = (number("BENCH_LEAST", 3), number("BENCH_MEMBERS", 10_000));
    let parts = std::env::var("BENCH_PARTS").unwrap_or_else(|_| "clusters,lives".into());
    if parts.contains("clusters") {
        for nodes in [3, 10, 100, 1_000, 10_000].into_iter().filter(|nodes| (least..=most).contains(nodes)) {
            cluster(nodes);
        }
    }
    if parts.contains("lives") {
        lives(number("BENCH_HOURS", 1_000));
    }
}

fn cluster(nodes: usize) {
    let before = resident();
    let mut world = measure::acquainted(nodes, 1, Weather::default());
    let each = resident().saturating_sub(before) as f64 / (nodes * nodes) as f64;
    if nodes >= 1_000 {
        line(&format!("{nodes} members: memory for a member at each node"), &format!("{each:.0} B"), "");
    }
    background(&mut world);
    spread(&mut world);
    for loss in [0.0, 0.2] {
        detection(&mut world, loss);
    }
}

fn number<N: std::str::FromStr>(name: &str, default: N) -> N {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn line(figure: &str, value: &str, aim: &str) {
    println!("{figure:<64} {value:>24}   {aim}");
}

fn background(world: &mut World) {
    let nodes = world.places.len();
    let (mean, most) = measure::background(world, Duration::from_secs(if nodes > 1_000 { 3 } else { 30 }));
    let value = format!("{:.2} / {:.2} KB/s", mean / 1e3, most / 1e3);
    line(&format!("{nodes} members: idle node sends, mean and most"), &value, "<= 10 KB/s");
}

fn spread(world: &mut World) {
    let nodes = world.places.len();
    world.weather.loss = 0.25;
    let tries = if nodes > 1_000 { 3 } else { 30 };
    let mut times: Vec<Duration> =
        (0..tries).map(|_| measure::spread(world, 0.9999).unwrap_or(Duration::MAX)).collect();
    times.sort();
    let value = format!("{:?} / {:?}", quantile(&times, 0.5), quantile(&times, 1.0));
    line(&format!("{nodes} members, 25 % loss: change at 99.99 %, p50 and worst of {tries}"), &value, "<= 1.5 s");
}

fn detection(world: &mut World, loss: f64) {
    let nodes = world.places.len();
    world.weather.loss = loss;
    let tries = match nodes {
        ..=100 => 300,
        ..=1_000 => 60,
        _ => 8,
    };
    let mut times: Vec<Duration> = (0..tries).flat_map(|_| measure::detection(world)).collect();
    times.sort();
    let part = |part| quantile(&times, part);
    let value = format!("{:?} / {:?} / {:?}", part(0.5), part(0.99), part(1.0));
    let figure = format!("{nodes} members, {} % loss: death seen, p50, p99, worst of {}", loss * 100.0, times.len());
    line(&figure, &value, "p99 <= 2.5 s");
}

fn lives(hours: u64) {
    let begin = Instant::now();
    let nodes = 100;
    let workers = std::thread::available_parallelism().map_or(1, |workers| workers.get() as u64);
    let each = Duration::from_secs(hours * 3_600 / nodes as u64 / workers);
    let all: Vec<Lives> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).map(|seed| scope.spawn(move || measure::lives(nodes, each, 0.2, seed))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let sum = |of: fn(&Lives) -> u64| all.iter().map(of).sum::<u64>();
    let value = format!("{}", sum(|lives| lives.deaths));
    line(&format!("{hours} node-hours, 20 % loss, 1 in 10 stalling: false deaths"), &value, "0 in 10,000 h");
    let value = format!("{} / {:.1e}", sum(|lives| lives.suspicions), sum(|lives| lives.datagrams) as f64);
    line(&format!("    suspicions and datagrams meanwhile ({:?})", begin.elapsed()), &value, "");
}

/// Memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}
