//! What a start finds on disk: verify every segment, cut a torn tail, refuse damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::frame::{self, BadHeader, HEADER_LEN, Header, UNIT_MAGIC};
use super::index::{Gap, Index};
use super::{Log, SPARE, Segment, segment_path};
use crate::store::{Error, disk_error};
use crate::world::disk::{Disk, DiskFile};

/// A segment as found.
struct Found {
    path: PathBuf,
    header: Header,
    file: Box<dyn DiskFile>,
    bytes: Bytes,
}

pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64, salt: u64) -> Result<Log, Error> {
    disk.create_dir_all(dir).map_err(|error| disk_error(&error))?;
    let found = segments(&*disk, dir)?;
    if found.is_empty() { create(&disk, dir, segment_bytes, salt) } else { replay(disk, dir, segment_bytes, found) }
}

fn create(disk: &Arc<dyn Disk>, dir: &Path, segment_bytes: u64, salt: u64) -> Result<Log, Error> {
    let spare = dir.join(SPARE);
    let make = || -> io::Result<Log> {
        let mut log = Log {
            tail: disk.open(&spare, true)?,
            disk: disk.clone(),
            dir: dir.to_owned(),
            segment_bytes,
            segments: Vec::new(),
            header: Header { sequence: 0, salt },
            offset: 0,
            index: Arc::default(),
            spare: false,
            poisoned: false,
        };
        log.start(Header { sequence: 1, salt }, segment_bytes)?;
        log.reserve();
        Ok(log)
    };
    make().map_err(|error| disk_error(&error))
}

fn replay(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64, found: Vec<(PathBuf, u64)>) -> Result<Log, Error> {
    let mut index = Index::default();
    let mut segments = Vec::with_capacity(found.len());
    let mut tail = None;
    let count = found.len();
    // One at a time: a log may be larger than memory should be.
    for (at, (path, sequence)) in found.into_iter().enumerate() {
        let segment = load(&*disk, path, sequence)?;
        let mut entry = Segment { sequence: segment.header.sequence, highest: None };
        let end = scan(&segment, at + 1 == count, &mut index, &mut entry)?;
        segments.push(entry);
        tail = Some((segment, end));
    }
    let Some((segment, Extent { last, end: offset })) = tail else { return Err(Error::Disk) };
    if !index.joins_purge() {
        return Err(damaged(&segment_path(dir, 0), "entries before the first segment are missing"));
    }
    let mut log = Log {
        tail: segment.file,
        disk,
        dir: dir.to_owned(),
        segment_bytes,
        segments,
        header: Header { sequence: segment.header.sequence, salt: segment.header.salt },
        offset,
        index: Arc::new(Mutex::new(index)),
        spare: false,
        poisoned: false,
    };
    log.settle(&segment.bytes, last).map_err(|error| disk_error(&error))?;
    log.reserve();
    Ok(log)
}

/// Where the valid units of a segment end.
struct Extent {
    /// Offset of the last valid one; behind the header where there is none.
    last: u64,
    /// Offset behind it.
    end: u64,
}

impl Log {
    /// Makes durable what was found, and clears what a torn write left behind it.
    ///
    /// The last unit may be the one whose sync failed before the process ended: the system still shows it but will not
    /// write it again by itself. So it is written once more; so is the header, in case it is the first.
    fn settle(&mut self, bytes: &Bytes, last: u64) -> io::Result<()> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(at(self.offset)..).unwrap_or_default();
        let full_length = bytes.len() as u64 >= self.segment_bytes;
        if !full_length || rest.iter().any(|byte| *byte != 0) {
            self.tail.set_len(self.offset)?;
            self.tail.set_len(self.segment_bytes.max(self.offset))?;
        }
        self.tail.write_at(0, bytes.get(..HEADER_LEN).unwrap_or_default())?;
        self.tail.write_at(last, bytes.get(at(last)..at(self.offset)).unwrap_or_default())?;
        self.tail.sync()?;
        self.disk.sync_dir(&self.dir)
    }
}

/// Reads the units of one segment into the index; gives where they end.
fn scan(found: &Found, last: bool, index: &mut Index, entry: &mut Segment) -> Result<Extent, Error> {
    let (mut at, mut begin) = (HEADER_LEN, HEADER_LEN);
    while let Some(unit) = frame::parse(&found.bytes.slice(at.min(found.bytes.len())..), found.header.salt, at as u64) {
        for (offset, record) in &unit.records {
            index
                .take(record, found.header.sequence, (at + offset) as u64)
                .map_err(|Gap| damaged(&found.path, "an entry does not follow the one before it"))?;
            if record.kind == frame::Kind::Entry {
                entry.highest = entry.highest.max(Some(record.place.index));
            }
        }
        index.committed = index.committed.max(unit.committed);
        begin = at;
        at += unit.size;
    }
    if crate::store::mutant::mutant("accept-torn-tail") {
        at = salvage(found, index, at);
    }
    let rest = found.bytes.get(at..).unwrap_or_default();
    let clean = rest.iter().all(|byte| *byte == 0);
    if !clean && (!last || unit_follows(found, at)) {
        return Err(damaged(&found.path, &format!("the checksum at byte {at} does not match")));
    }
    Ok(Extent { last: begin as u64, end: at as u64 })
}

/// The planted fault of taking a torn unit's records without a valid checksum.
fn salvage(found: &Found, index: &mut Index, at: usize) -> usize {
    let rest = found.bytes.slice(at.min(found.bytes.len())..);
    let Some(unit) = frame::parse_unchecked(&rest) else { return at };
    for (offset, record) in &unit.records {
        let _ = index.take(record, found.header.sequence, (at + offset) as u64);
    }
    at + unit.size
}

/// Whether a valid unit lies behind `at`: then what is at `at` was synced once, and is damage.
fn unit_follows(found: &Found, at: usize) -> bool {
    let mut from = at + 1;
    while let Some(rest) = found.bytes.get(from..) {
        let Some(step) = rest.windows(UNIT_MAGIC.len()).position(|window| window == UNIT_MAGIC) else { return false };
        from += step;
        if frame::parse(&found.bytes.slice(from..), found.header.salt, from as u64).is_some() {
            return true;
        }
        from += 1;
    }
    false
}

/// The segments' names and numbers, in order.
fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<(PathBuf, u64)>, Error> {
    let names = disk.list(dir).map_err(|error| disk_error(&error))?;
    let mut found: Vec<(PathBuf, u64)> = Vec::new();
    for path in names {
        if path.file_name().is_some_and(|name| name == SPARE) {
            continue;
        }
        let Some(sequence) = sequence_of(&path) else {
            return Err(damaged(&path, "this is not a file of the log"));
        };
        if found.last().is_some_and(|(_, before)| before + 1 != sequence) {
            return Err(damaged(&segment_path(dir, sequence - 1), "the segment is missing"));
        }
        found.push((path, sequence));
    }
    Ok(found)
}

fn load(disk: &dyn Disk, path: PathBuf, sequence: u64) -> Result<Found, Error> {
    let read = || -> io::Result<(Box<dyn DiskFile>, Vec<u8>)> {
        let file = disk.open(&path, false)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        let n = file.read_at(0, &mut bytes)?;
        bytes.truncate(n);
        Ok((file, bytes))
    };
    let (file, bytes) = read().map_err(|error| disk_error(&error))?;
    match Header::decode(&bytes) {
        Ok(header) if header.sequence == sequence => Ok(Found { path, header, file, bytes: bytes.into() }),
        Ok(_) => Err(damaged(&path, "the segment belongs under another name")),
        Err(BadHeader::Blank | BadHeader::Foreign) => Err(damaged(&path, "the segment's header is not readable")),
        Err(BadHeader::Version(version)) => {
            Err(damaged(&path, &format!("format {version} was written by a newer version of shoal")))
        }
    }
}

fn sequence_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::Damaged(format!(
        "{}: {what}. Nothing was changed. Restore the data directory from a copy, or move it away to start empty",
        path.display()
    ))
}
