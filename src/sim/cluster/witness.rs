//! Writes down what a replica applies, and where it differs from what others applied at the same place.

use std::sync::Arc;

use parking_lot::Mutex;

use super::history::{Content, Entry, History, Put};
use super::workload::{name_of, value_in};
use crate::store::witness::{Applied, Content as Asked, Witness};
use crate::store::{Action, Txn};

/// Differences kept; more say nothing new.
const KEPT: usize = 20;

/// The witness of one life of one replica.
pub struct Recorder {
    history: Arc<Mutex<History>>,
    who: String,
    last: Mutex<Option<u64>>,
}

impl Recorder {
    /// Who applies is `who`.
    pub fn new(history: Arc<Mutex<History>>, who: String) -> Self {
        Self { history, who, last: Mutex::default() }
    }
}

impl Witness for Recorder {
    fn applied(&self, applied: Applied<'_>) {
        let entry = entry(&applied);
        let mut history = self.history.lock();
        let before = self.last.lock().replace(applied.index);
        if before.is_some_and(|before| before + 1 != applied.index) && history.jumps.len() < KEPT {
            history.jumps.push(format!("{} applied {} after {before:?}", self.who, applied.index));
        }
        match history.log.get(&applied.index) {
            Some(first) if *first == entry => {}
            Some(first) => {
                let odd = format!("{} applied {entry:?} at {}, others {first:?}", self.who, applied.index);
                if history.disagreements.len() < KEPT {
                    history.disagreements.push(odd);
                }
            }
            None => drop(history.log.insert(applied.index, entry)),
        }
    }

    fn installed(&self, index: u64) {
        *self.last.lock() = Some(index);
    }
}

fn entry(applied: &Applied<'_>) -> Entry {
    let content = match applied.content {
        Asked::Txn(txn) => writes(txn),
        Asked::Compact(at) => Content::Compact(at.0),
        Asked::Members => Content::Members,
        Asked::Blank => Content::Blank,
    };
    Entry { term: applied.term, leader: applied.leader, content, done: applied.done }
}

fn writes(txn: &Txn) -> Content {
    let put = |op: &crate::store::Op| {
        let value = match &op.action {
            Action::Put { value, .. } => Some(value_in(&op.key, value)),
            Action::Delete => None,
            Action::Check => return None,
        };
        Some(Put { key: name_of(&op.key), value: value.flatten() })
    };
    let fence = txn.fence.as_ref().map(|fence| (fence.actor.clone(), fence.epoch.0));
    Content::Writes(txn.ops.iter().filter_map(put).collect(), fence)
}
