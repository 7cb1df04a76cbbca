//! What the bench asks of its members, a line of JSON each, on standard input and output.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The variable that makes this binary a member: [`Settings`] as JSON.
pub const MEMBER: &str = "SHOAL_QUORUM_MEMBER";

/// Who a member is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    /// Number of its replica; the first founds.
    pub raft_id: u64,
    pub dir: PathBuf,
    /// Where certificates are: `ca.der`, `NAME.der`, `NAME.key`.
    pub papers: PathBuf,
    pub at: SocketAddr,
    pub peers: Vec<(String, SocketAddr)>,
}

/// What a member is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Adds a replica and makes it a voter.
    Add { raft_id: u64, node: String },
    /// Whether it leads.
    Leads,
    /// Waits until it has applied what the leader has.
    CatchUp,
    /// Writes objects of `bytes` for a time, `clients` at once.
    Write { clients: usize, millis: u64, bytes: usize },
    /// Reads linearizably for a time, `clients` at once.
    Read { clients: usize, millis: u64 },
    /// Changes one object that `watchers` watch, `changes` times.
    Watch { watchers: usize, changes: usize },
    /// Lets another voter lead.
    HandOver { to: u64 },
    /// Writes for a time with clients that try again, and notes in `file` what was acknowledged.
    Load { clients: usize, millis: u64, file: PathBuf },
    /// Counts the writes of `file` that are not here.
    Check { file: PathBuf },
    /// Writes so many objects of so many bytes, in batches.
    Fill { objects: u64, bytes: usize },
    /// Closes the store.
    Close,
}

/// What it says to that.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Failed(String),
    Leads(bool),
    Samples(Samples),
    Gap(Gap),
    /// Microseconds.
    Took(u64),
    Missing(usize),
}

/// Many of one kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Samples {
    /// Microseconds that each took.
    pub micros: Vec<u32>,
    /// Time of all together.
    pub seconds: f64,
}

/// What clients saw while something happened to the cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Gap {
    pub acknowledged: usize,
    /// Errors that clients were given and tried again after.
    pub errors: usize,
    /// Longest time between two acknowledgements.
    pub longest_micros: u64,
}
