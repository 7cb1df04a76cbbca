//! The raft log on disk: units of records in preallocated segments. Synchronous; whoever owns it decides when to wait.
//!
//! `frame` the bytes, `index` where entries lie, `recover` what a start finds, `owner` whose it is. One unit is written and synced before the
//! next, so a unit that does not verify is a torn tail where it is the last, and damage where a valid one follows it.

pub mod frame;
pub mod index;
pub mod owner;
mod recover;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use self::frame::{HEADER_LEN, Header, Kind, RECORD_LEN, Record, UNIT_LEN, Unit};
use self::index::{Gap, Index, Slot};
use super::Error;
use crate::world::disk::{Disk, DiskFile};

/// Name of the segment that is allocated ahead, so that a full disk is noticed one segment early.
const SPARE: &str = "spare";

/// A segment that is complete, or the one being written.
#[derive(Debug, Clone, Copy)]
struct Segment {
    sequence: u64,
    /// Highest entry index in it, where it has any.
    highest: Option<u64>,
}

/// The log. Poisoned by the first failed write or sync: nothing after it is ever taken as durable.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    segments: Vec<Segment>,
    tail: Box<dyn DiskFile>,
    header: Header,
    offset: u64,
    index: Arc<Mutex<Index>>,
    spare: bool,
    poisoned: bool,
}

impl Log {
    /// Opens or makes the log in `dir`. `salt` is random, used for segments made from now on.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the file's name; [`Error::Disk`] or [`Error::DiskFull`] where the disk refuses.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64, salt: u64) -> Result<Self, Error> {
        recover::open(disk, dir, segment_bytes, salt)
    }

    /// Writes `records` as one unit, and syncs. On success they are durable and in the index.
    ///
    /// # Errors
    /// As the disk says; the log is poisoned then.
    pub fn append(&mut self, records: &[Record], committed: u64) -> io::Result<()> {
        if self.poisoned {
            return Err(io::Error::other("the log failed before"));
        }
        let result = self.append_unit(records, committed);
        self.poisoned = result.is_err();
        result
    }

    fn append_unit(&mut self, records: &[Record], committed: u64) -> io::Result<()> {
        let size = unit_size(records);
        if self.offset + size > self.segment_bytes {
            self.roll(size)?;
        }
        self.write_unit(records, committed)?;
        if !super::mutant::mutant("skip-fsync") {
            self.tail.sync()?;
        }
        Ok(())
    }

    fn write_unit(&mut self, records: &[Record], committed: u64) -> io::Result<()> {
        let mut unit = Unit::new(committed);
        let mut starts = Vec::with_capacity(records.len());
        for record in records {
            starts.push(unit.push(record));
        }
        let bytes = unit.seal(self.header.salt, self.offset);
        self.tail.write_at(self.offset, &bytes)?;
        for (record, start) in records.iter().zip(starts) {
            let offset = self.offset + (start + RECORD_LEN) as u64;
            self.take(record, offset).map_err(|Gap| io::Error::other("an entry does not follow the last one"))?;
        }
        let mut index = self.index.lock();
        index.committed = index.committed.max(committed);
        drop(index);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn take(&mut self, record: &Record, offset: u64) -> Result<(), Gap> {
        self.index.lock().take(record, self.header.sequence, offset)?;
        if let (Kind::Entry, Some(segment)) = (record.kind, self.segments.last_mut()) {
            segment.highest = segment.highest.max(Some(record.place.index));
        }
        Ok(())
    }

    /// Starts the next segment with what must survive the removal of the old ones.
    fn roll(&mut self, needed: u64) -> io::Result<()> {
        let header = Header { sequence: self.header.sequence + 1, salt: next_salt(self.header.salt) };
        let carried = self.carried();
        let len = self.segment_bytes.max(needed + unit_size(&carried) + HEADER_LEN as u64);
        self.start(header, len)?;
        let committed = self.index.lock().committed;
        self.write_unit(&carried, committed)?;
        self.tail.sync()?;
        self.reserve();
        Ok(())
    }

    /// Makes a segment under its final name; durable when this returns.
    fn start(&mut self, header: Header, len: u64) -> io::Result<()> {
        let (spare, path) = (self.dir.join(SPARE), segment_path(&self.dir, header.sequence));
        let mut file = self.disk.open(&spare, true)?;
        file.set_len(len)?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        self.disk.rename(&spare, &path)?;
        self.disk.sync_dir(&self.dir)?;
        self.tail = file;
        self.header = header;
        self.offset = HEADER_LEN as u64;
        self.segments.push(Segment { sequence: header.sequence, highest: None });
        self.spare = false;
        Ok(())
    }

    fn carried(&self) -> Vec<Record> {
        let index = self.index.lock();
        let mut records = Vec::new();
        if let Some(vote) = &index.vote {
            records.push(Record { kind: Kind::Vote, place: frame::Place::default(), payload: vote.clone() });
        }
        if let Some((place, payload)) = &index.purged {
            records.push(Record { kind: Kind::Purge, place: *place, payload: payload.clone() });
        }
        records
    }

    /// Allocates the next segment ahead. Gives whether there is room; a failure here loses nothing.
    pub fn reserve(&mut self) -> bool {
        if !self.spare && !self.poisoned {
            let spare = self.dir.join(SPARE);
            let made = self.disk.open(&spare, true).and_then(|mut file| file.set_len(self.segment_bytes));
            self.spare = made.is_ok();
            if !self.spare {
                // Half a spare must not hold the room that others need.
                let _ = self.disk.remove(&spare);
            }
        }
        self.spare
    }

    /// Removes segments whose entries are all purged. Call after a purge record is durable.
    ///
    /// # Errors
    /// As the disk says; what was not removed is removed next time.
    pub fn trim(&mut self) -> io::Result<()> {
        let upto = self.index.lock().purged.as_ref().map(|(place, _)| place.index);
        if upto.is_none() {
            return Ok(());
        }
        let keep = self.segments.iter().position(|segment| segment.highest > upto);
        let keep = keep.unwrap_or(usize::MAX).min(self.segments.len().saturating_sub(1));
        if keep == 0 {
            return Ok(());
        }
        // Oldest first and each made durable before the next, so that a crash never leaves a gap in the numbers.
        for segment in self.segments.drain(..keep) {
            self.disk.remove(&segment_path(&self.dir, segment.sequence))?;
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Where the entries lie: as written, of which the last unit may not be durable yet.
    pub fn index(&self) -> Arc<Mutex<Index>> {
        self.index.clone()
    }

    /// Bytes of segments on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.len().saturating_sub(1) as u64 * self.segment_bytes + self.offset
    }

    /// Bytes left in the segment being written.
    pub fn room(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.offset)
    }
}

/// Reads the payloads of `slots` from the segments in `dir`.
///
/// # Errors
/// As the disk says, or where a file is shorter than it was; [`io::ErrorKind::InvalidData`] where it has other bytes.
pub fn read(disk: &dyn Disk, dir: &Path, slots: &[Slot]) -> io::Result<Vec<Bytes>> {
    let mut open: Option<(u64, Box<dyn DiskFile>)> = None;
    let mut payloads = Vec::with_capacity(slots.len());
    for slot in slots {
        if open.as_ref().is_none_or(|(segment, _)| *segment != slot.segment) {
            open = Some((slot.segment, disk.open(&segment_path(dir, slot.segment), false)?));
        }
        let Some((_, file)) = &open else { continue };
        let mut payload = vec![0; slot.len as usize];
        if file.read_at(slot.offset, &mut payload)? != payload.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if crc32fast::hash(&payload) != slot.crc {
            let path = segment_path(dir, slot.segment);
            let what = format!("{}: entry {} has changed since it was written", path.display(), slot.place.index);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        payloads.push(payload.into());
    }
    Ok(payloads)
}

fn unit_size(records: &[Record]) -> u64 {
    (UNIT_LEN + records.iter().map(|record| RECORD_LEN + record.payload.len()).sum::<usize>()) as u64
}

fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:020}.log"))
}

/// Salts must differ between segments, not be secret.
fn next_salt(salt: u64) -> u64 {
    salt.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}
