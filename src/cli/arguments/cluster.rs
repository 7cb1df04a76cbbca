//! What can be typed about the cluster: tokens, members, leaving.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::ClientFlags;
use crate::cli::settings;

/// Flags of `shoal token`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  shoal token create --ttl 1h --uses 2\n  shoal token list\n  shoal token revoke 3k9x2f"
)]
pub struct TokenFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// What to do
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token that lets nodes join, and print it
    Create {
        /// How long it is good for, e.g. 90m, 24h or 7d
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime)]
        ttl: Duration,
        /// How many nodes it lets in [default: any number]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: Option<u32>,
    },
    /// List tokens, without their secrets
    List,
    /// End a token; nodes that joined with it stay
    Revoke {
        /// Its id, as `shoal token list` prints it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Flags of `shoal authority`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal authority rotate")]
pub struct AuthorityFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// What to do
    #[command(subcommand)]
    pub command: AuthorityCommand,
}

/// What to do with the authority.
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Replace the authority by a new one: first every node trusts both, then the new one signs, then the old one goes.
    /// Kubeconfigs with certificates of the old one end with it
    Rotate,
}

/// Flags of `shoal control`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  shoal status                                  where they run\n  shoal control move default-scheduler node-b\n  shoal control move default-scheduler          to any voter"
)]
pub struct ControlFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// What to do
    #[command(subcommand)]
    pub command: ControlCommand,
}

/// What to do with control actors.
#[derive(Debug, Subcommand)]
pub enum ControlCommand {
    /// Let an actor run on a voter while that answers
    Move {
        /// Its name, as `shoal status` prints it
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// The voter [default: any]
        #[arg(value_name = "NODE")]
        node: Option<String>,
    },
}

/// Flags of `shoal backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal backup cluster.backup")]
pub struct BackupFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// Where to; only its owner may read it, Secrets are in it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `shoal restore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal restore cluster.backup --dry-run\n  shoal restore cluster.backup")]
pub struct RestoreFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// Change nothing, and say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// A backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `shoal recover`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  shoal recover --dry-run    says what would be kept, and what given up\n  shoal recover"
)]
pub struct RecoverFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// Change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `shoal members`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal members\n  shoal members -o wide\n  shoal members -o json")]
pub struct MembersFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// wide or json
    #[arg(short, long, value_name = "FORM", value_parser = ["wide", "json"])]
    pub output: Option<String>,
    /// Leave the header out
    #[arg(long)]
    pub no_headers: bool,
}

/// Flags of `shoal leave`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sudo shoal leave          this machine's node says goodbye and stops\n  shoal leave node-c        remove another node, which may be gone already"
)]
pub struct LeaveFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// Settings file of this machine's node, instead of the one that it was started with
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub config: Option<PathBuf>,
    /// The node to remove [default: this machine's]
    #[arg(value_name = "NODE")]
    pub name: Option<String>,
}

/// How a node of `shoal up` gets into a cluster.
#[derive(Debug, Default, Args)]
pub struct JoinFlags {
    /// Join the cluster of the node there; several may be named, one that answers is enough (repeatable)
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<String>,
    /// What `shoal token create` printed; others on this machine see it, unlike `SHOAL_TOKEN` and --token-file
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,
    /// File that the token stands in
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// Failure domain that the node stands in
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(1)..=crate::api::cluster::MAX_TOKEN_TTL;
    let read = settings::duration(text).ok().filter(|ttl| bounds.contains(ttl));
    read.ok_or_else(|| "takes a duration such as 90m, 24h or 7d, of at least 1s and at most 365d".into())
}
