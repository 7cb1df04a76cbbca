//! An image as bytes: checksummed frames, so that writing, reading and sending it need little memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Epoch, ObjectKey, Revision};
use crate::store::mvcc::Image;
use crate::store::{Change, ChangeKind, Record};

/// A frame is closed once it holds this many bytes.
pub const FRAME_BYTES: usize = 256 * 1024;
/// Bound on a frame when reading: the largest object and what fits before it.
const FRAME_MAX: usize = 64 * 1024 * 1024;
/// Length and checksum before each frame.
const PREFIX: usize = 8;
/// Format that this build writes and reads.
const VERSION: u32 = 1;

/// Why an image could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The source failed.
    Disk(io::Error),
    /// It is not a whole image.
    Damaged(&'static str),
}

#[derive(Serialize, Deserialize)]
enum Item {
    Head { version: u32, applied: u64, compacted: u64, consensus: Bytes },
    Fence { actor: String, epoch: u64 },
    Base(Row),
    Change { kind: u8, row: Row, cause: u64 },
    End { items: u64 },
}

#[derive(Serialize, Deserialize)]
struct Row {
    key: ObjectKey,
    created: u64,
    modified: u64,
    value: Bytes,
    splice: u32,
}

/// Writes `image` as a series of chunks.
///
/// # Errors
/// As `sink` says.
pub fn encode(image: &Image, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut frames = Frames { bytes: vec![0; PREFIX], items: 0, sink };
    frames.push(&Item::Head {
        version: VERSION,
        applied: image.applied.0,
        compacted: image.compacted.0,
        consensus: Bytes::copy_from_slice(&image.consensus),
    })?;
    for (actor, epoch) in &image.fences {
        frames.push(&Item::Fence { actor: actor.clone(), epoch: epoch.0 })?;
    }
    for record in &image.base {
        frames.push(&Item::Base(Row::of(record)))?;
    }
    for change in &image.history {
        let kind = change.kind as u8;
        frames.push(&Item::Change { kind, row: Row::of(&change.record), cause: change.cause })?;
    }
    let items = frames.items;
    frames.push(&Item::End { items })?;
    frames.close()
}

struct Frames<'a> {
    bytes: Vec<u8>,
    items: u64,
    sink: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
}

impl Frames<'_> {
    fn push(&mut self, item: &Item) -> io::Result<()> {
        rmp_serde::encode::write(&mut self.bytes, item).map_err(io::Error::other)?;
        self.items += 1;
        if self.bytes.len() >= FRAME_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> io::Result<()> {
        let body = self.bytes.get(PREFIX..).unwrap_or_default();
        if body.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut prefix = len.to_le_bytes().to_vec();
        prefix.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        if let Some(field) = self.bytes.get_mut(..PREFIX) {
            field.copy_from_slice(&prefix);
        }
        (self.sink)(&self.bytes)?;
        self.bytes.truncate(PREFIX);
        Ok(())
    }
}

/// Reads an image from `source`, which is asked for bytes at growing offsets.
///
/// # Errors
/// [`ReadError`].
pub fn decode(source: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>) -> Result<Image, ReadError> {
    let mut image = Image::default();
    let mut latest = std::collections::BTreeMap::new();
    let (mut at, mut items) = (0, 0);
    loop {
        let frame = read_frame(source, at)?;
        at += (PREFIX + frame.len()) as u64;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let item =
                rmp_serde::decode::from_read(&mut rest).map_err(|_| ReadError::Damaged("an item is not readable"))?;
            if let Item::End { items: expected } = item {
                let whole = expected == items;
                return if whole { Ok(image) } else { Err(ReadError::Damaged("items are missing")) };
            }
            take(&mut image, &mut latest, item, items)?;
            items += 1;
        }
    }
}

type Latest = std::collections::BTreeMap<ObjectKey, Arc<Record>>;

fn take(image: &mut Image, latest: &mut Latest, item: Item, nth: u64) -> Result<(), ReadError> {
    match item {
        Item::Head { version, applied, compacted, consensus } if nth == 0 => {
            if version != VERSION {
                return Err(ReadError::Damaged("it was written by a newer version of shoal"));
            }
            image.applied = Revision(applied);
            image.compacted = Revision(compacted);
            image.consensus = consensus.to_vec();
        }
        _ if nth == 0 => return Err(ReadError::Damaged("it does not start with a head")),
        Item::Fence { actor, epoch } => {
            image.fences.insert(actor, Epoch(epoch));
        }
        Item::Base(row) => {
            let record = Arc::new(row.record());
            latest.insert(record.key.clone(), record.clone());
            image.base.push(record);
        }
        Item::Change { kind, row, cause } => {
            let kind = [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted]
                .into_iter()
                .find(|known| *known as u8 == kind)
                .ok_or(ReadError::Damaged("a change is of no known kind"))?;
            let record = Arc::new(row.record());
            let previous = match kind {
                ChangeKind::Deleted => latest.remove(&record.key),
                _ => latest.insert(record.key.clone(), record.clone()),
            };
            image.history.push(Arc::new(Change { kind, record, previous, cause }));
        }
        Item::Head { .. } | Item::End { .. } => return Err(ReadError::Damaged("an item is out of place")),
    }
    Ok(())
}

fn read_frame(source: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>, at: u64) -> Result<Vec<u8>, ReadError> {
    const SHORT: ReadError = ReadError::Damaged("it ends too early");
    let mut prefix = [0; PREFIX];
    if source(at, &mut prefix).map_err(ReadError::Disk)? != PREFIX {
        return Err(SHORT);
    }
    let [a, b, c, d, crc @ ..] = prefix;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    if len == 0 || len > FRAME_MAX {
        return Err(ReadError::Damaged("a frame's length cannot be"));
    }
    let mut frame = vec![0; len];
    if source(at + PREFIX as u64, &mut frame).map_err(ReadError::Disk)? != len {
        return Err(SHORT);
    }
    let sound = crc32fast::hash(&frame) == u32::from_le_bytes(crc);
    if sound { Ok(frame) } else { Err(ReadError::Damaged("a checksum does not match")) }
}

impl Row {
    fn of(record: &Record) -> Self {
        Self {
            key: record.key.clone(),
            created: record.created.0,
            modified: record.modified.0,
            value: record.value.clone(),
            splice: record.splice,
        }
    }

    fn record(self) -> Record {
        Record {
            key: self.key,
            created: Revision(self.created),
            modified: Revision(self.modified),
            value: self.value,
            splice: self.splice,
        }
    }
}
