//! What can be typed: commands and their flags. `cluster` has those about the cluster, `chaos` those about runs with faults.

pub mod chaos;
pub mod cluster;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use chaos::ChaosFlags;
use cluster::{
    AuthorityFlags, BackupFlags, ControlFlags, JoinFlags, LeaveFlags, MembersFlags, RecoverFlags, RestoreFlags,
    TokenFlags,
};

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
  sudo shoal up --join 10.0.0.1:6443 --token-file token
                                           make this machine a node of that cluster
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
    /// Make the cluster say what manifests say
    Apply(ApplyFlags),
    /// Print objects
    Get(GetFlags),
    /// Explain an object: what it is, how it is, what happened to it
    Describe(DescribeFlags),
    /// Print what a container has printed
    Logs(LogsFlags),
    /// Run a program in a running container
    Exec(ExecFlags),
    /// Remove objects
    Delete(DeleteFlags),
    /// Print how the node and its API are
    Status(StatusFlags),
    /// Make, list and end the tokens that let nodes join
    Token(TokenFlags),
    /// Replace the cluster's certificate authority
    Authority(AuthorityFlags),
    /// Print who is in the cluster
    Members(MembersFlags),
    /// Say where control actors should run
    Control(ControlFlags),
    /// Write every object of the running cluster to a file
    Backup(BackupFlags),
    /// Make the running cluster's objects those of a backup
    Restore(RestoreFlags),
    /// Rebuild a quorum that is lost for good, from the log of the node that is asked
    Recover(RecoverFlags),
    /// Take a node out of its cluster for good
    Leave(LeaveFlags),
    /// List, import and remove images of the running node
    Image(ImageFlags),
    /// Small programs of the built-in image (`shoal toolbox` lists them)
    Toolbox,
    /// Run a whole node in one deterministic thread, with faults, and judge it
    Sim(SimFlags),
    /// Run a cluster of real processes under load while things go wrong, and judge it from outside
    Chaos(ChaosFlags),
    /// Print the version
    Version,
}

/// How to reach the API.
#[derive(Debug, Clone, Default, Args)]
pub struct ClientFlags {
    /// Kubeconfig file [default: $KUBECONFIG, the node's own, ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Data directory of the node whose admin.kubeconfig is used
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Ask the API there, e.g. of another node [default: the kubeconfig's]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<http::Uri>,
    /// Namespace [default: the kubeconfig's]
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// Flags of `shoal apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal apply -f examples/hello.yaml --wait\n  cat pod.yaml | shoal apply -f -")]
pub struct ApplyFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// File or directory of manifests, or - for standard input (repeatable)
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Wait until everything is ready
    #[arg(long)]
    pub wait: bool,
    /// Seconds to wait for one object
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
}

/// Flags of `shoal get`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  shoal get pods -A -o wide\n  shoal get deployment/hello -o yaml\n  shoal get nodes,services\n  shoal get pods -w"
)]
pub struct GetFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// TYPE [NAME...], TYPE/NAME..., TYPE,TYPE or all
    #[arg(value_name = "WHAT", required = true)]
    pub words: Vec<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels, e.g. app=hello
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only objects with these fields, e.g. status.phase=Running
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// wide, yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORM")]
    pub output: Option<String>,
    /// Go on and print every change
    #[arg(short, long)]
    pub watch: bool,
    /// Leave the header out
    #[arg(long)]
    pub no_headers: bool,
}

/// Flags of `shoal describe`.
#[derive(Debug, Args)]
pub struct DescribeFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// TYPE [NAME...] or TYPE/NAME...
    #[arg(value_name = "WHAT", required = true)]
    pub words: Vec<String>,
}

/// Flags of `shoal logs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal logs -f deployment/hello\n  shoal logs hello-abc --previous --tail 20")]
pub struct LogsFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// Pod, or TYPE/NAME that has pods
    #[arg(value_name = "POD")]
    pub target: String,
    /// Container [default: the pod's only one]
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// Go on and print what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Of the incarnation before this one
    #[arg(short, long)]
    pub previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only what is newer, e.g. 10m
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
}

/// Flags of `shoal exec`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal exec -it deployment/hello -- sh\n  shoal exec hello-abc -- cat /etc/hosts")]
pub struct ExecFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// Pod, or TYPE/NAME that has pods
    #[arg(value_name = "POD")]
    pub target: String,
    /// Container [default: the pod's first one]
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Program and arguments, after --
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<String>,
}

/// Flags of `shoal delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  shoal delete -f examples/hello.yaml\n  shoal delete pods -l app=hello")]
pub struct DeleteFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// TYPE NAME... or TYPE/NAME...
    #[arg(value_name = "WHAT", required_unless_present = "files")]
    pub words: Vec<String>,
    /// File or directory of manifests, or - for standard input (repeatable)
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "words")]
    pub files: Vec<PathBuf>,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// All objects of the type in the namespace
    #[arg(long)]
    pub all: bool,
    /// Seconds that pods have to end [default: what they ask for]
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u64>,
    /// An object that is not there is fine
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Wait until they are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// Seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
}

/// Flags of `shoal status`.
#[derive(Debug, Args)]
pub struct StatusFlags {
    /// How to reach the API
    #[command(flatten)]
    pub client: ClientFlags,
    /// json prints the quorum and the control actors as JSON
    #[arg(short, long, value_name = "FORM", value_parser = ["json"])]
    pub output: Option<String>,
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
    /// How to get into a cluster
    #[command(flatten)]
    pub join: JoinFlags,
    /// What runs containers: auto, containerd, embedded or hollow
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// Socket of the containerd daemon
    #[arg(long, value_name = "PATH")]
    pub containerd_socket: Option<String>,
    /// Pod addresses of this node [default: assigned by the cluster]
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

/// Which node of this machine is meant.
#[derive(Debug, Args)]
pub struct NodeFlags {
    /// Settings file, instead of the one that the node was started with
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the node [default: /var/lib/shoal]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<String>,
}

/// Flags of `shoal image`.
#[derive(Debug, Args)]
pub struct ImageFlags {
    /// Which node
    #[command(flatten)]
    pub node: NodeFlags,
    /// What to do
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    Ls,
    /// Take the images of a Docker or OCI archive (tar, optionally gzip)
    Import {
        /// The archive
        #[arg(value_name = "FILE")]
        archive: PathBuf,
    },
    /// Remove an image
    Rm {
        /// Its name or id
        #[arg(value_name = "IMAGE")]
        name: String,
    },
}

/// Flags of `shoal down`.
#[derive(Debug, Args)]
pub struct DownFlags {
    /// Which node
    #[command(flatten)]
    pub node: NodeFlags,
    /// Remove the data directory too: the cluster and everything in it
    #[arg(long)]
    pub purge: bool,
}

/// What `shoal sim` can simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// One whole node that crashes
    Node,
    /// Many nodes' meshes on a bad network
    Mesh,
    /// Many nodes with replicated stores, which are cut off, lose their power and their disks
    Cluster,
    /// Many whole nodes with pods, which are cut off and lose their power
    Nodes,
    /// Membership alone: many small clusters' worth of faults in a second
    Gossip,
}

/// Flags of `shoal sim`.
#[derive(Debug, Args)]
pub struct SimFlags {
    /// Decides workload and faults; the same seed gives the same run [default: a fresh one]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What is simulated
    #[arg(long, value_enum, default_value_t = Scenario::Node)]
    pub scenario: Scenario,
    /// How many nodes the mesh or cluster has, 3 to 9 [default: the seed decides]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(3..=9))]
    pub nodes: Option<u64>,
    /// Virtual minutes with faults, before the cluster must converge
    #[arg(long, value_name = "M", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub minutes: u64,
    /// Write every step to this file
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print the faults that this build can plant (`SHOAL_MUTANT` chooses one)
    #[arg(long)]
    pub list_mutants: bool,
}
