//! The log as it is read: for openraft, and for the links, in messages.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::{RaftLogReader, StorageIOError};

use super::{Entry, LogStore, Memory, log_id};
use crate::store::raft::trail::Trail;
use crate::store::raft::{LogId, StorageError, Types};

/// Bytes of entries in one message to another replica, or one entry where that is larger.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Reads for one replica that openraft sends entries to.
pub struct Reader {
    log: LogStore,
    /// What is known of it; nothing for the readers of a start.
    trail: Option<Arc<Trail>>,
}

impl Reader {
    pub(super) fn new(log: LogStore, trail: Option<Arc<Trail>>) -> Self {
        Self { log, trail }
    }
}

impl RaftLogReader<Types> for Reader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        self.log.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        match self.trail.as_ref().and_then(|trail| trail.leap(start, end)) {
            Some(only) => self.log.try_get_log_entries(only..=only).await,
            None => self.log.limited_get_log_entries(start, end).await,
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let (from, to, recent) = {
            let memory = self.memory.lock();
            let (from, to) = bounds(&range, memory.last.map_or(0, |last| last.index + 1));
            (from, to, memory.recent(from, to))
        };
        let known = recent.first().map_or(to, |entry| entry.log_id.index);
        if from >= known {
            return Ok(recent);
        }
        let mut entries = self.read_disk(from, known).map_err(|error| StorageIOError::read_logs(&error))?;
        entries.extend(recent);
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let end = self.memory.lock().within(start, end).unwrap_or_else(|| self.within_on_disk(start, end));
        self.try_get_log_entries(start..end).await
    }
}

impl LogStore {
    /// Entries from `start` to before `end` that fit into a message, no more than this log has.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn message(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.clone().limited_get_log_entries(start, end).await.map_err(io::Error::other)
    }

    /// The name of entry `index`, where it is here.
    pub fn id_at(&self, index: u64) -> Option<LogId> {
        let memory = self.memory.lock();
        memory
            .id_at(index)
            .or(memory.purged.filter(|purged| purged.index == index))
            .or_else(|| self.shared.index.lock().slot(index).map(|slot| log_id(slot.place)))
    }

    /// The last entry before those of `term`, after entry `after`.
    pub fn end_before(&self, term: impl Fn(LogId) -> bool, after: u64) -> Option<LogId> {
        let (mut low, mut high) = (after, self.last()?.index + 1);
        while high > low + 1 {
            let middle = low + (high - low) / 2;
            // Terms only grow along the log.
            if term(self.id_at(middle)?) {
                high = middle;
            } else {
                low = middle;
            }
        }
        (low > after).then(|| self.id_at(low)).flatten()
    }

    fn within_on_disk(&self, from: u64, to: u64) -> u64 {
        let index = self.shared.index.lock();
        let sizes = (from..to).filter_map(|at| index.slot(at)).map(|slot| (slot.place.index, slot.len as usize));
        fitting(sizes, from, to)
    }
}

impl Memory {
    /// Where a message of [`MESSAGE_BYTES`] that starts at `from` ends; `None` where `from` is not in memory.
    fn within(&self, from: u64, to: u64) -> Option<u64> {
        let start = self.recent.partition_point(|(entry, _)| entry.log_id.index < from);
        let sizes = self.recent.range(start..).map(|(entry, size)| (entry.log_id.index, *size));
        let first = self.recent.get(start)?.0.log_id.index;
        (first == from).then(|| fitting(sizes, from, to))
    }

    fn recent(&self, from: u64, to: u64) -> Vec<Entry> {
        let start = self.recent.partition_point(|(entry, _)| entry.log_id.index < from);
        self.recent
            .range(start..)
            .map(|(entry, _)| entry)
            .take_while(|entry| entry.log_id.index < to)
            .cloned()
            .collect()
    }

    fn id_at(&self, index: u64) -> Option<LogId> {
        let first = self.recent.front()?.0.log_id.index;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        self.recent.get(at).map(|(entry, _)| entry.log_id)
    }
}

/// The end of the entries from `from` on that fit into a message; always at least one.
fn fitting(sizes: impl Iterator<Item = (u64, usize)>, from: u64, to: u64) -> u64 {
    let mut bytes = 0;
    for (index, size) in sizes {
        bytes += size;
        if bytes > MESSAGE_BYTES {
            return index.max(from + 1).min(to);
        }
    }
    to
}

fn bounds(range: &impl RangeBounds<u64>, end: u64) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(at) => at + 1,
        Bound::Excluded(at) => *at,
        Bound::Unbounded => end,
    };
    (from, to.min(end))
}
