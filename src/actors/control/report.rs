//! What control actors are doing, for `shoal status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::mesh::address::Class;
use crate::mesh::exports::Protocol;
use crate::model::{Epoch, Timestamp};

/// What one control actor did last and has before it.
#[derive(Debug, Default)]
pub struct Report {
    queue: AtomicUsize,
    last: Mutex<Option<Action>>,
}

/// Something that a control actor did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub what: String,
}

/// A control actor as its node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub actor: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Failures in a row.
    pub failures: u32,
    /// Keys that wait for it.
    pub queue: usize,
    /// What it did last.
    pub last: Option<Action>,
}

/// The messages by which other nodes ask.
pub struct Reports;

impl Protocol for Reports {
    const ACTOR: &'static str = "control/reports";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = ();
    type Answer = Vec<Row>;
}

impl Report {
    /// Notes how many keys wait.
    pub fn waits(&self, keys: usize) {
        self.queue.store(keys, Ordering::Relaxed);
    }

    /// Notes what was done.
    pub fn did(&self, at: Timestamp, what: String) {
        *self.last.lock() = Some(Action { at, what });
    }
}

/// The control actors of this node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Entry>>>);

#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    failures: u32,
    report: Arc<Report>,
}

impl Board {
    /// An actor was started.
    pub fn put(&self, actor: &str, epoch: Epoch, failures: u32, report: Arc<Report>) {
        self.0.lock().insert(actor.into(), Entry { epoch, failures, report });
    }

    /// An actor is gone.
    pub fn remove(&self, actor: &str) {
        self.0.lock().remove(actor);
    }

    /// All of them.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(actor, entry): (&String, &Entry)| Row {
            actor: actor.clone(),
            epoch: entry.epoch,
            failures: entry.failures,
            queue: entry.report.queue.load(Ordering::Relaxed),
            last: entry.report.last.lock().clone(),
        };
        self.0.lock().iter().map(row).collect()
    }
}
