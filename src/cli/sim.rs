//! `shoal sim`: one simulated run, from a seed to a verdict.

use std::process::ExitCode;

use super::arguments::SimFlags;
use super::failure::Failure;
use crate::sim::run::{Breach, Options, Summary, run as simulate};
use crate::store::mutant::MUTANTS;
use crate::world::entropy::{Entropy, SystemEntropy};

/// Runs a seed; 0 where every invariant held.
pub fn run(flags: &SimFlags) -> Result<ExitCode, Failure> {
    if flags.list_mutants {
        MUTANTS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options { seed: flags.seed.unwrap_or_else(fresh), minutes: flags.minutes };
    let (outcome, trace) = simulate(options);
    if let Some(path) = &flags.trace {
        std::fs::write(path, trace)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    match outcome {
        Ok(summary) => Ok(report(options, &summary)),
        Err(breach) => Err(failure(options, &breach)),
    }
}

fn report(options: Options, summary: &Summary) -> ExitCode {
    let Summary { lives, writes, events, objects } = summary;
    println!(
        "seed {}: {} min, {lives} lives, {writes} writes, {events} watch events, {objects} objects at the end; all invariants hold",
        options.seed, options.minutes
    );
    ExitCode::SUCCESS
}

fn failure(options: Options, breach: &Breach) -> Failure {
    Failure::new(format!(
        "seed {} broke {}\n\nthe last steps:\n{}\n\nreplay: shoal sim --seed {} --minutes {} --trace trace.txt",
        options.seed, breach.what, breach.tail, options.seed, options.minutes
    ))
}

fn fresh() -> u64 {
    let mut bytes = [0; 4];
    SystemEntropy::new().fill(&mut bytes);
    u64::from(u32::from_le_bytes(bytes))
}
