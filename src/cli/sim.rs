//! `shoal sim`: one simulated run, from a seed to a verdict.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::arguments::{Scenario, SimFlags};
use super::failure::Failure;
use crate::mesh::mutant as mesh_mutant;
use crate::sim::cluster::run::{self as cluster, Options as ClusterOptions};
use crate::sim::gossip;
use crate::sim::mesh::run::{self as mesh, Options as MeshOptions};
use crate::sim::run::{Options, Summary, run as simulate};
use crate::store::mutant::{CLUSTER_MUTANTS, MUTANTS, NODE_MUTANTS};
use crate::world::entropy::{Entropy, SystemEntropy};

/// Lines of the trace of gossip that a failure prints.
const GOSSIP_TAIL: usize = 40;

/// Runs a seed; 0 where every invariant held.
pub fn run(flags: &SimFlags) -> Result<ExitCode, Failure> {
    let seed = flags.seed.unwrap_or_else(fresh);
    match flags.scenario {
        _ if flags.list_mutants => {
            list_mutants(flags.scenario);
            Ok(ExitCode::SUCCESS)
        }
        Scenario::Node => run_node(flags, seed),
        Scenario::Mesh => run_mesh(flags, seed),
        Scenario::Cluster | Scenario::Nodes => run_cluster(flags, seed),
        Scenario::Gossip => run_gossip(flags, seed),
    }
}

fn list_mutants(scenario: Scenario) {
    let mutants = match scenario {
        Scenario::Node => &MUTANTS[..],
        Scenario::Cluster => CLUSTER_MUTANTS,
        Scenario::Nodes => NODE_MUTANTS,
        Scenario::Mesh | Scenario::Gossip => mesh_mutant::MUTANTS,
    };
    mutants.iter().for_each(|(name, _)| println!("{name}"));
}

fn run_node(flags: &SimFlags, seed: u64) -> Result<ExitCode, Failure> {
    let options = Options { seed, minutes: flags.minutes };
    let (outcome, trace) = simulate(options);
    keep(flags.trace.as_deref(), trace)?;
    match outcome {
        Ok(Summary { lives, writes, events, objects }) => {
            println!(
                "seed {seed}: {} min, {lives} lives, {writes} writes, {events} watch events, {objects} objects at the end; all invariants hold",
                options.minutes
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(breach) => Err(failure(seed, &breach.what, &breach.tail, &format!("--minutes {}", options.minutes))),
    }
}

fn run_mesh(flags: &SimFlags, seed: u64) -> Result<ExitCode, Failure> {
    let nodes = flags.nodes.and_then(|nodes| usize::try_from(nodes).ok());
    let (outcome, trace) = mesh::run(MeshOptions { seed, nodes, minutes: flags.minutes });
    keep(flags.trace.as_deref(), trace)?;
    let minutes = flags.minutes;
    match outcome {
        Ok(mesh::Summary { nodes, lives, calls, answered, watches, sights, net }) => {
            println!(
                "seed {seed}: mesh of {nodes}, {minutes} min, {lives} lives, {answered} of {calls} calls answered, {watches} watches ended, {sights} changes seen, {} connections, {} of {} datagrams lost; all invariants hold",
                net.connections, net.dropped, net.datagrams
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(breach) => {
            let size = flags.nodes.map(|nodes| format!(" --nodes {nodes}")).unwrap_or_default();
            Err(failure(seed, &breach.what, &breach.tail, &format!("--scenario mesh{size} --minutes {minutes}")))
        }
    }
}

fn run_cluster(flags: &SimFlags, seed: u64) -> Result<ExitCode, Failure> {
    let nodes = flags.nodes.and_then(|nodes| usize::try_from(nodes).ok());
    let minutes = flags.minutes;
    let started = Instant::now();
    let whole = flags.scenario == Scenario::Nodes;
    let name = if whole { "nodes" } else { "cluster" };
    let (outcome, trace) = cluster::run(ClusterOptions { seed, nodes, minutes, whole });
    let took = started.elapsed();
    keep(flags.trace.as_deref(), trace)?;
    match outcome {
        Ok(said) => {
            println!(
                "seed {seed}: {name} of {}, {minutes} min, {} faults, {} lives, {} replicas, {} reigns, {} entries, {} of {} operations known, {} watch events, {} keys too tangled to judge, {:.0} x real time; all invariants hold",
                said.nodes,
                said.faults,
                said.lives,
                said.replicas,
                said.reigns,
                said.entries,
                said.known,
                said.operations,
                said.events,
                said.tangled,
                said.simulated.as_secs_f64() / took.as_secs_f64().max(0.001)
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(breach) => {
            let size = flags.nodes.map(|nodes| format!(" --nodes {nodes}")).unwrap_or_default();
            Err(failure(seed, &breach.what, &breach.tail, &format!("--scenario {name}{size} --minutes {minutes}")))
        }
    }
}

/// The length of a run and its size are the seed's here.
fn run_gossip(flags: &SimFlags, seed: u64) -> Result<ExitCode, Failure> {
    let (outcome, trace) = gossip::run_and_trace(seed);
    let tail: Vec<&str> = trace.lines().rev().take(GOSSIP_TAIL).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    keep(flags.trace.as_deref(), trace)?;
    match outcome {
        Ok(gossip::Report { nodes, faults, sightings }) => {
            println!("seed {seed}: gossip of {nodes}, {faults} faults, {sightings} changes seen; all invariants hold");
            Ok(ExitCode::SUCCESS)
        }
        Err(broken) => {
            let what = format!("{}: {}", broken.invariant, broken.what);
            Err(failure(seed, &what, &tail, "--scenario gossip"))
        }
    }
}

fn keep(path: Option<&Path>, trace: String) -> Result<(), Failure> {
    path.map_or(Ok(()), |path| {
        std::fs::write(path, trace).map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
    })
}

fn failure(seed: u64, what: &str, tail: &str, flags: &str) -> Failure {
    Failure::new(format!(
        "seed {seed} broke {what}\n\nthe last steps:\n{tail}\n\nreplay: shoal sim --seed {seed} {flags} --trace trace.txt"
    ))
}

fn fresh() -> u64 {
    let mut bytes = [0; 4];
    SystemEntropy::new().fill(&mut bytes);
    u64::from(u32::from_le_bytes(bytes))
}
