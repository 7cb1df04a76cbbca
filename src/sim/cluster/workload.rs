//! What users of the cluster do on every node: register operations, watches that move from node to node, and control
//! actors that take each other's place.

pub mod actors;
pub mod followers;
pub mod registers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng as _;

use self::actors::MACHINES;
use super::history::{Answer, Ask, History, Operation};
use crate::kube::resource::id;
use crate::model::{ObjectKey, ResourceId};
use crate::plan::placement;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::{At, NodeClock};
use crate::sim::trace::Trace;
use crate::store::{Action, Error, Expect, Fence, Op, Store, Txn};
use crate::world::entropy::Rng;

/// What everybody writes.
pub const REGISTERS: ResourceId = ResourceId::new("sim.shoal.local", "registers");
/// Bytes that a value carries for nothing, so that logs fill up and snapshots are made.
const BALLAST: usize = 160;

/// What all lives share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// Where everybody writes down what happened.
    pub history: Arc<Mutex<History>>,
    /// Where everybody says what they do.
    pub trace: Trace,
    /// Which replicas there should be, by machine.
    pub wanted: Arc<Mutex<BTreeMap<Slot, Wanted>>>,
    /// A hand-over that somebody asked for: the number of who should lead.
    pub successor: Arc<Mutex<Option<u64>>>,
    /// On which machine each watch goes on.
    pub followed_on: Arc<Mutex<Vec<Slot>>>,
    values: Arc<AtomicU64>,
    quiet: Arc<AtomicBool>,
}

/// A replica that there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub raft_id: u64,
    /// Whether its node is about to leave, so that another should vote.
    pub leaving: bool,
}

/// What the users on one node are given.
#[derive(Clone)]
pub struct User {
    /// Its machine.
    pub slot: Slot,
    /// How many machines there are.
    pub nodes: usize,
    /// Its store.
    pub store: Store,
    /// Its clock.
    pub clock: Arc<NodeClock>,
    /// What all share.
    pub shared: Shared,
}

impl Shared {
    /// Nothing has happened yet.
    pub fn new(trace: Trace) -> Self {
        Self {
            history: Arc::default(),
            trace,
            wanted: Arc::default(),
            successor: Arc::default(),
            followed_on: Arc::default(),
            values: Arc::default(),
            quiet: Arc::default(),
        }
    }

    /// Nobody writes any more from now on.
    pub fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Whether nobody writes any more.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// A value that nobody has written, from 1.
    pub fn fresh(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl User {
    fn now(&self) -> At {
        self.clock.global()
    }

    /// Asks something of a key, and writes down what came of it.
    async fn operate(&self, key: &str, ask: Ask, fence: Option<Fence>) -> Answer {
        let from = self.now();
        let operation = Operation { node: self.slot, key: key.to_owned(), ask, from, answer: None };
        let index = {
            let mut history = self.shared.history.lock();
            history.operations.push(operation);
            history.operations.len() - 1
        };
        let answer = self.perform(key, ask, fence).await;
        let at = self.now();
        self.shared.trace.note(format!("n{} {ask:?} of {key}: {answer:?}", self.slot));
        if let Some(operation) = self.shared.history.lock().operations.get_mut(index) {
            operation.answer = Some((at, answer));
        }
        answer
    }

    async fn perform(&self, key: &str, ask: Ask, fence: Option<Fence>) -> Answer {
        let name = ObjectKey::new(REGISTERS, "", key);
        let (expect, action) = match ask {
            Ask::Read => {
                let Ok(_) = self.store.barrier().await else { return Answer::Not };
                return Answer::Value(self.store.get(&name).and_then(|record| value_of(&record.value)));
            }
            Ask::Write(Some(value)) => (Expect::Any, put(value)),
            Ask::Write(None) => (Expect::Any, Action::Delete),
            Ask::Swap { expected: None, new } => (Expect::Absent, put(new)),
            Ask::Swap { expected: Some(expected), new } => {
                let record = self.store.get(&name).filter(|record| value_of(&record.value) == Some(expected));
                let Some(record) = record else { return Answer::Not };
                (Expect::Revision(record.modified), put(new))
            }
        };
        let ops = vec![Op { key: name, expect, action }];
        match self.store.commit(Txn { ops, fence, cause: 0 }).await {
            Ok(outcome) => Answer::Done(outcome.revision.0),
            Err(Error::Conflict { .. }) => Answer::Conflict,
            Err(Error::Busy | Error::Invalid | Error::DiskFull | Error::Fenced | Error::NotLeader { .. }) => {
                Answer::Not
            }
            Err(_) => Answer::Unknown,
        }
    }
}

/// The action that writes a value.
fn put(value: u64) -> Action {
    let text = format!("{value} {} ", "x".repeat(BALLAST));
    let splice = u32::try_from(text.len()).unwrap_or(0);
    Action::Put { value: Bytes::from(text), splice }
}

/// How a key is told: by its name, where it is a register.
pub fn name_of(key: &ObjectKey) -> String {
    if key.is(REGISTERS) { key.name.to_string() } else { key.to_string() }
}

/// The value that `key` holds; of what is no register, only who holds a control actor's Lease in which epoch is looked at.
pub fn value_in(key: &ObjectKey, bytes: &[u8]) -> Option<u64> {
    if key.is(REGISTERS) {
        return value_of(bytes);
    }
    let lease = key.is(id::LEASES) && *key.namespace == *placement::NAMESPACE;
    Some(lease.then(|| holder(bytes)).flatten().unwrap_or(0))
}

fn holder(lease: &[u8]) -> Option<u64> {
    let lease: serde_json::Value = serde_json::from_slice(lease).ok()?;
    let epoch = lease.pointer("/spec/leaseTransitions")?.as_u64()?;
    let slot: u64 = lease.pointer("/spec/holderIdentity")?.as_str()?.strip_prefix('n')?.parse().ok()?;
    Some(epoch * MACHINES + slot)
}

/// The value in what a register holds.
pub fn value_of(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.split(' ').next()?.parse().ok()
}

/// Waits for a random while.
async fn pause(rng: &mut Rng, least_ms: u64, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(least_ms..=most_ms))).await;
}
