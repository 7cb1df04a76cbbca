//! When which key is due: each key at most once, the earliest time wins, failures wait longer each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{ObjectKey, Timestamp};

/// Wait after a key's first failure.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(20);
/// Longest wait after a failure.
pub const MOST_BACKOFF: Duration = Duration::from_mins(1);
/// Doublings after which the wait grows no more.
const MAX_DOUBLINGS: u32 = 12;

/// Keys to reconcile. Holds at most one entry a key.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<ObjectKey, Entry>,
    order: BTreeSet<(Timestamp, ObjectKey)>,
    failures: BTreeMap<ObjectKey, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Timestamp,
    cause: u64,
}

/// A key whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub key: ObjectKey,
    /// Causal id of the last change that marked it (0: time alone did).
    pub cause: u64,
}

impl Queue {
    /// Something changed: the key is due now.
    pub fn mark(&mut self, key: ObjectKey, cause: u64, now: Timestamp) {
        self.schedule(key, now, cause);
    }

    /// The key is due after `delay`, unless it is due earlier.
    pub fn again(&mut self, key: ObjectKey, delay: Duration, now: Timestamp) {
        self.schedule(key, now + delay, 0);
    }

    /// The key's commands failed: due again after a wait that doubles with each failure in a row.
    pub fn failed(&mut self, key: ObjectKey, cause: u64, now: Timestamp) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let wait = FIRST_BACKOFF.saturating_mul(1 << (*failures).min(MAX_DOUBLINGS)).min(MOST_BACKOFF);
        *failures = failures.saturating_add(1);
        self.schedule(key, now + wait, cause);
        wait
    }

    /// The key's commands were carried out: its failures are forgotten.
    pub fn succeeded(&mut self, key: &ObjectKey) {
        self.failures.remove(key);
    }

    /// Takes up to `limit` keys that are due, longest overdue first.
    pub fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < limit && self.next_due().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.order.pop_first() else { break };
            let cause = self.entries.remove(&key).map_or(0, |entry| entry.cause);
            due.push(Due { key, cause });
        }
        due
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn schedule(&mut self, key: ObjectKey, at: Timestamp, cause: u64) {
        let before = self.entries.get(&key).copied();
        let entry = Entry {
            at: before.map_or(at, |before| before.at.min(at)),
            cause: if cause == 0 { before.map_or(0, |before| before.cause) } else { cause },
        };
        if let Some(before) = before {
            self.order.remove(&(before.at, key.clone()));
        }
        self.order.insert((entry.at, key.clone()));
        self.entries.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::resource::id;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(id::PODS, "default", name)
    }

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn a_key_waits_once_and_the_earliest_time_wins() {
        let mut queue = Queue::default();
        queue.again(key("a"), Duration::from_secs(9), NOW);
        queue.again(key("a"), Duration::from_secs(3), NOW);
        queue.again(key("a"), Duration::from_secs(5), NOW);
        queue.mark(key("b"), 7, NOW);
        assert_eq!((queue.len(), queue.next_due()), (2, Some(NOW)));
        assert_eq!(queue.take_due(NOW, 10), vec![Due { key: key("b"), cause: 7 }]);
        assert_eq!(queue.next_due(), Some(NOW + Duration::from_secs(3)));
    }

    #[test]
    fn failures_wait_longer_up_to_a_bound_until_one_success() {
        let mut queue = Queue::default();
        let waits: Vec<Duration> = (0..20).map(|_| queue.failed(key("a"), 0, NOW)).collect();
        assert_eq!(waits[0..3], [FIRST_BACKOFF, FIRST_BACKOFF * 2, FIRST_BACKOFF * 4]);
        assert_eq!(waits[19], MOST_BACKOFF);
        queue.succeeded(&key("a"));
        assert_eq!(queue.failed(key("a"), 0, NOW), FIRST_BACKOFF);
    }
}
