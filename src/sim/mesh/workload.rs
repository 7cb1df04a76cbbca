//! What simulated nodes do with their mesh: call, cast, stream and watch each other without end.
//!
//! `actors` what each node exports; `callers` who asks; `watchers` who watches; `renew` the certificate.

pub mod actors;
pub mod callers;
pub mod renew;
pub mod watchers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;

use super::history::{History, Who};
use super::net::{SimNet, Slot};
use super::time::NodeClock;
use crate::mesh::handle::Mesh;
use crate::model::NodeId;
use crate::sim::trace::Trace;
use crate::world::entropy::Rng;

/// What every part of the workload of one life is given.
#[derive(Clone)]
pub struct Desk {
    /// Which life.
    pub who: Who,
    /// Its machine.
    pub slot: Slot,
    /// Its cluster.
    pub cluster: u32,
    /// Its mesh.
    pub mesh: Mesh,
    /// Nodes of the cluster that it may turn to, itself included.
    pub peers: Arc<[NodeId]>,
    /// Its clock.
    pub clock: Arc<NodeClock>,
    /// The network, for its certificate.
    pub net: SimNet,
    /// What all share.
    pub shared: Shared,
}

/// What all lives share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// Where everybody writes down what happened.
    pub history: Arc<Mutex<History>>,
    /// Where everybody says what they do.
    pub trace: Trace,
    /// Numbers of calls.
    calls: Arc<AtomicU64>,
    quiet: Arc<AtomicBool>,
}

impl Shared {
    /// Nothing has happened yet.
    pub fn new(trace: Trace) -> Self {
        Self { history: Arc::default(), trace, calls: Arc::default(), quiet: Arc::default() }
    }

    /// Nobody changes what it tells about itself from now on.
    pub fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Whether nobody changes what it tells about itself any more.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// A fresh number for a call, from 1.
    pub fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Desk {
    /// Another node of the cluster.
    fn somebody(&self, rng: &mut Rng) -> NodeId {
        let others = self.peers.iter().filter(|peer| **peer != self.who.node);
        let others: Vec<&NodeId> = others.collect();
        let chosen = others.get(rng.random_range(0..others.len().max(1)));
        chosen.map_or_else(|| self.who.node.clone(), |chosen| (*chosen).clone())
    }

    /// Writes something down.
    fn write<T>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        act(&mut self.shared.history.lock())
    }
}

/// Waits for a random while.
async fn pause(rng: &mut Rng, least_ms: u64, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(least_ms..=most_ms))).await;
}
