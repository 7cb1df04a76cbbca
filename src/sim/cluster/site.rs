//! A machine of the cluster: its disk, its clock, and the process on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::actors::cluster::replicas;
use crate::mesh::exports::Exports;
use crate::model::NodeId;
use crate::sim::mesh::authority::Papers;
use crate::sim::mesh::fleet::address;
use crate::sim::mesh::machine::Machine;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::NodeClock;
use crate::sim::nodes::body::Body;
use crate::store::{Error, Store};
use crate::world::disk::sim::{Faults, SimDisk};

/// A machine and what is on it.
pub struct Site {
    /// Its number.
    pub slot: Slot,
    /// The node's name.
    pub name: NodeId,
    /// Where it listens.
    pub at: SocketAddr,
    /// Starts of its process so far.
    pub life: u64,
    /// Its wall clock.
    pub clock: Arc<NodeClock>,
    /// Its certificate and what it trusts.
    pub papers: Papers,
    /// Its disk.
    pub disk: SimDisk,
    /// Where its pods run, where there are any.
    pub body: Option<Body>,
    /// What its disk does to it.
    pub faults: Faults,
    /// The disk has said that it holds what it does not.
    pub lied: bool,
    /// The disk may have failed a sync or been full in this life.
    pub failing: bool,
    /// Somebody damaged the disk, or put back an old copy of it.
    pub tampered: bool,
    /// The disk as it was a while ago.
    pub copy: Option<SimDisk>,
    /// The process is stopped.
    pub frozen: bool,
    /// The process runs only in a slice of time in so many.
    pub starved: Option<u32>,
    /// The process, where it runs.
    pub process: Option<Process>,
}

/// A process.
pub struct Process {
    /// Its runtime.
    pub machine: Machine,
    /// What it exports, which holds its store.
    pub exports: Exports,
    /// What it shows of itself.
    pub office: Office,
    /// Whether it led when it was last looked at.
    pub leads: bool,
}

/// What a process shows of itself to the run. Cheap to clone.
#[derive(Clone, Default)]
pub struct Office(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    store: Option<Store>,
    ended: Option<Error>,
}

impl Office {
    /// The store is open.
    pub fn open(&self, store: Store) {
        self.0.lock().store = Some(store);
    }

    /// The process can do nothing more.
    pub fn end(&self, cause: Error) {
        self.0.lock().ended = Some(cause);
    }

    /// The store, where it is open.
    pub fn store(&self) -> Option<Store> {
        self.0.lock().store.clone()
    }

    /// Why the process can do nothing more.
    pub fn ended(&self) -> Option<Error> {
        self.0.lock().ended.clone()
    }

    fn clear(&self) {
        self.0.lock().store = None;
    }
}

impl Site {
    /// A machine on which nothing runs yet; `seed` decides what its disk does.
    pub fn new(slot: Slot, seed: u64, clock: Arc<NodeClock>, papers: Papers) -> Self {
        Self {
            slot,
            name: NodeId(format!("n{slot}").as_str().into()),
            at: address(slot, 0),
            life: 0,
            clock,
            papers,
            disk: usual_disk(seed ^ (slot as u64).rotate_left(48)),
            body: None,
            faults: usual(),
            lied: false,
            failing: false,
            tampered: false,
            copy: None,
            frozen: false,
            starved: None,
            process: None,
        }
    }

    /// Whether a process runs on it.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The store of its process, where it is open.
    pub fn store(&self) -> Option<Store> {
        self.process.as_ref().and_then(|process| process.office.store())
    }

    /// Changes what the disk does from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.lied |= faults.sync_lies > 0.0;
        self.failing |= fails(&faults);
        self.disk.set_faults(faults.clone());
        self.faults = faults;
    }

    /// A process begins; what the disk did to the last one is no excuse any more.
    pub fn begin(&mut self) {
        self.life += 1;
        self.failing = fails(&self.faults);
        (self.frozen, self.starved) = (false, None);
    }

    /// An empty disk instead of the one that was there.
    pub fn replace_disk(&mut self, seed: u64) {
        self.disk = usual_disk(seed);
        self.faults = usual();
        (self.lied, self.tampered, self.copy) = (false, false, None);
    }
}

/// A sound disk: not at once.
pub fn usual() -> Faults {
    let takes = (Duration::from_micros(100), Duration::from_millis(4));
    Faults { sync_takes: takes, queue_takes: takes, ..Faults::default() }
}

fn fails(faults: &Faults) -> bool {
    faults.sync_fails > 0.0 || faults.capacity < u64::MAX
}

fn usual_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.set_faults(usual());
    disk
}

impl Process {
    /// Ends it where it stands. Tell the network first.
    pub fn kill(self) {
        let Self { machine, exports, office, .. } = self;
        machine.inside(|| {
            // The exports hold the store, which holds the mesh, which holds the exports.
            replicas::withdraw(&exports);
            office.clear();
            std::mem::drop(exports);
        });
        machine.kill();
    }
}
