//! What can be typed: commands and their flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A container orchestrator with the Kubernetes API, in one binary.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, max_term_width = 120, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  sudo shoal up                            start a node on this machine
  shoal apply -f examples/hello.yaml       run what a manifest says
  shoal get pods -A -o wide                see what runs
  sudo shoal down                          end everything on this machine";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node and stay in the foreground
    Up(UpFlags),
    /// Stop the node and end everything that runs on it
    Down(DownFlags),
    /// Print the version
    Version,
}

/// Flags of `shoal up`; each overrides the setting of its name.
#[derive(Debug, Default, Args)]
#[command(after_help = "Every setting, its default and its environment variable: config/REFERENCE.md")]
pub struct UpFlags {
    /// Settings file, instead of /etc/shoal/config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of all that must survive a restart [default: /var/lib/shoal]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Where the API listens [default: 0.0.0.0:6443]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Name of the node [default: the host name]
    #[arg(long, value_name = "NODE")]
    pub name: Option<String>,
    /// Address by which others reach the node
    #[arg(long, value_name = "IP")]
    pub address: Option<String>,
    /// What runs containers: auto, containerd, embedded or hollow
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// Socket of the containerd daemon
    #[arg(long, value_name = "PATH")]
    pub containerd_socket: Option<String>,
    /// Pod addresses of this node [default: 10.244.0.0/24]
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<String>,
    /// Any other setting, e.g. `--set store.history=2h` (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What is logged, e.g. `debug` or `info,shoal::store=trace`
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Form of log lines: auto, text or json
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<String>,
}

/// Flags of `shoal down`.
#[derive(Debug, Args)]
pub struct DownFlags {
    /// Settings file that the node was started with, instead of /etc/shoal/config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the node [default: /var/lib/shoal]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Remove the data directory too: the cluster and everything in it
    #[arg(long)]
    pub purge: bool,
}
