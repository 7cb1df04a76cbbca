//! What can be typed about runs with faults.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::settings;

/// Flags of `shoal chaos`.
#[derive(Debug, Args)]
pub struct ChaosFlags {
    /// What to do
    #[command(subcommand)]
    pub command: ChaosCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ChaosCommand {
    /// Run a scenario on a cluster of its own, and remove that cluster. Needs root, `ip` and `nft`
    Run(ChaosRunFlags),
}

/// Flags of `shoal chaos run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 every check holds, 1 a check is broken or the run failed, 2 mistyped.\n\nExamples:\n  sudo shoal chaos run config/chaos/rolling-kill.toml\n  sudo shoal chaos run config/chaos/cuts.toml --json run.json --html run.html\n  sudo shoal chaos run config/chaos/pauses.toml --duration 30s --logs logs\n\nScenarios and what is checked: docs/CHAOS.md"
)]
pub struct ChaosRunFlags {
    /// Scenario file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write the report there as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report there as one HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Directory for the nodes' data, empty or not there; it is removed at the end [default: in the system's for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep the nodes' logs there
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// How many nodes, 1 to 9 [default: the scenario's]
    #[arg(long, value_name = "N")]
    pub nodes: Option<u8>,
    /// How long the load goes on, e.g. 30s; faults that end later are left out [default: the scenario's]
    #[arg(long, value_name = "DURATION", value_parser = settings::duration)]
    pub duration: Option<Duration>,
}
