//! Keeps history and log within their bounds, and notices the store's end. Sleeps while nothing is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Error;
use super::handle::Inner;
use super::mvcc::Mvcc;
use super::open::StoreOptions;
use super::raft::{Command, Consensus};
use super::writer::Shared;
use crate::model::Revision;

/// Least time between two looks, however much is written.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// First and longest wait before the state is persisted again where that failed; it doubles. Each try may write as much as
/// the disk has left.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(16));
/// Marks kept for compaction by age: its precision is the age divided by this.
const MARKS: u32 = 20;

struct Keeper {
    consensus: Consensus,
    state: Arc<RwLock<Mvcc>>,
    shared: Arc<Shared>,
    options: StoreOptions,
    /// When each revision was the newest, oldest first.
    marks: VecDeque<(Instant, Revision)>,
    /// Log size that the last snapshot left behind.
    kept_bytes: u64,
    /// Size of the last persisted state.
    state_bytes: u64,
    /// Where that failed of late: when it is tried again, and the wait before.
    again: Option<(Instant, Duration)>,
}

/// Starts the keeper; it ends with the store.
pub(super) fn start(inner: &Inner, options: &StoreOptions) {
    let keeper = Keeper {
        consensus: inner.consensus.clone(),
        state: inner.state.clone(),
        shared: inner.shared.clone(),
        options: options.clone(),
        marks: VecDeque::new(),
        kept_bytes: 0,
        state_bytes: 0,
        again: None,
    };
    let applied = inner.applied.subscribe();
    let (failed, shared, consensus) = (inner.failed.clone(), inner.shared.clone(), inner.consensus.clone());
    let told = inner.applied.clone();
    let mut stop = failed.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = keeper.run(applied) => {}
            () = consensus.ended() => {
                let cause = shared.durable.borrow().failed.clone().unwrap_or(Error::Unavailable);
                super::watch::fail(&failed, &told, cause);
            }
            _ = stop.wait_for(Option::is_some) => {}
        }
    });
}

impl Keeper {
    async fn run(mut self, mut applied: watch::Receiver<Revision>) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
            let due = self.marks.front().map(|(at, _)| *at + self.options.history_age);
            tokio::select! {
                biased;
                changed = applied.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    async fn look(&mut self) {
        let now = Instant::now();
        self.mark(now);
        if self.consensus.leads()
            && let Some(revision) = self.compactable(now)
        {
            let _ = self.consensus.propose(Command::Compact(revision)).await;
        }
        let bytes = self.shared.space.lock().bytes;
        // Not before the log holds as much as the state: so persisting writes at most as much again as the log.
        let due = self.options.snapshot_bytes.max(self.state_bytes);
        let full = self.shared.space.lock().full && bytes > self.kept_bytes + self.options.segment_bytes;
        let waits = self.again.is_some_and(|(at, _)| now < at);
        if (bytes > self.kept_bytes + due || full) && !waits {
            self.persist(bytes).await;
        }
        self.kept_bytes = self.kept_bytes.min(self.shared.space.lock().bytes);
    }

    async fn persist(&mut self, log_bytes: u64) {
        match self.consensus.snapshot(self.options.segment_bytes).await {
            Ok(state) => (self.kept_bytes, self.state_bytes, self.again) = (log_bytes, state, None),
            Err(error) => {
                let wait = self.again.map_or(AGAIN_AFTER.0, |(_, wait)| (wait * 2).min(AGAIN_AFTER.1));
                self.again = Some((Instant::now() + wait, wait));
                tracing::warn!(%error, ?wait, "the state could not be persisted; the log is kept");
            }
        }
    }

    /// Remembers that what is the newest now is this old; nothing where there is no history.
    fn mark(&mut self, now: Instant) {
        let state = self.state.read();
        let Some(oldest) = state.oldest_change() else {
            self.marks.clear();
            return;
        };
        while self.marks.front().is_some_and(|(_, revision)| *revision < oldest) {
            self.marks.pop_front();
        }
        let spaced = |(at, _): &(Instant, Revision)| now.duration_since(*at) >= self.options.history_age / MARKS;
        if self.marks.back().is_none_or(spaced) {
            self.marks.push_back((now, state.applied()));
        }
    }

    fn compactable(&self, now: Instant) -> Option<Revision> {
        let old = |(at, _): &&(Instant, Revision)| now.duration_since(*at) >= self.options.history_age;
        let by_age = self.marks.iter().take_while(old).last().map(|(_, revision)| *revision);
        let state = self.state.read();
        let by_size = state.excess(self.options.history_bytes).and(state.excess(self.options.history_bytes / 4 * 3));
        by_age.max(by_size).filter(|revision| state.oldest_change().is_some_and(|oldest| oldest <= *revision))
    }
}
