//! Where each entry of the log lies, in memory.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::{Kind, Place, Record};

/// Where an entry's payload lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The entry.
    pub place: Place,
    /// Number of its segment.
    pub segment: u64,
    /// Offset of its payload.
    pub offset: u64,
    /// Bytes of its payload.
    pub len: u32,
    /// Checksum of its payload, for reading it back.
    pub crc: u32,
}

/// An entry does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap;

/// The durable log as a value: what a restart would find.
#[derive(Debug, Clone, Default)]
pub struct Index {
    slots: VecDeque<Slot>,
    /// The last vote's payload.
    pub vote: Option<Bytes>,
    /// Entries up to here are gone; the payload is the caller's form of it.
    pub purged: Option<(Place, Bytes)>,
    /// Entries up to here were known to be committed.
    pub committed: u64,
}

impl Index {
    /// Takes in one durable record.
    ///
    /// # Errors
    /// [`Gap`]; nothing was taken in then.
    pub fn take(&mut self, record: &Record, segment: u64, offset: u64) -> Result<(), Gap> {
        match record.kind {
            Kind::Vote => self.vote = Some(record.payload.clone()),
            Kind::Truncate => self.truncate(record.place.index),
            Kind::Purge => {
                self.purged = Some((record.place, record.payload.clone()));
                while self.first().is_some_and(|first| first <= record.place.index) {
                    self.slots.pop_front();
                }
            }
            Kind::Entry => {
                if self.last().is_some_and(|last| last.index + 1 != record.place.index) {
                    return Err(Gap);
                }
                let len = u32::try_from(record.payload.len()).map_err(|_| Gap)?;
                let crc = crc32fast::hash(&record.payload);
                self.slots.push_back(Slot { place: record.place, segment, offset, len, crc });
            }
        }
        Ok(())
    }

    fn truncate(&mut self, since: u64) {
        while self.last().is_some_and(|last| last.index >= since) {
            self.slots.pop_back();
        }
    }

    /// Index of the first entry that is still here.
    pub fn first(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.place.index)
    }

    /// The last entry that is still here.
    pub fn last(&self) -> Option<Place> {
        self.slots.back().map(|slot| slot.place)
    }

    /// Where entry `index` lies.
    pub fn slot(&self, index: u64) -> Option<Slot> {
        let first = self.first()?;
        self.slots.get(usize::try_from(index.checked_sub(first)?).ok()?).copied()
    }

    /// Whether the entries join the purge mark without a gap.
    pub fn joins_purge(&self) -> bool {
        match (self.first(), &self.purged) {
            (Some(first), Some((purged, _))) => first <= purged.index + 1,
            (Some(first), None) => first == 0,
            (None, _) => true,
        }
    }
}
