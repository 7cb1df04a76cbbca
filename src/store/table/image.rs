//! An image as bytes: checksummed frames, so that writing, reading and sending it need little memory. `item` what is in them.

mod item;

use std::borrow::Borrow;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rmp_serde::decode::Error as DecodeError;
use serde::Deserialize as _;

use self::item::{Item, Names, Row};
use crate::model::{Epoch, ObjectKey, Revision};
use crate::store::mvcc::Image;
use crate::store::once::Done;
use crate::store::{Change, ChangeKind, Record};

/// A frame is closed once it holds this many bytes.
pub const FRAME_BYTES: usize = 256 * 1024;
/// Bound on a frame when reading: the largest object and what fits before it.
const FRAME_MAX: usize = 64 * 1024 * 1024;
/// Bytes that are read from a disk at a time.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// Length and checksum before each frame.
const PREFIX: usize = 8;
/// Format that this build writes; it reads older ones too. 2 added the tickets.
const VERSION: u32 = 2;

/// Why an image could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The source failed.
    Disk(io::Error),
    /// It is not a whole image.
    Damaged(&'static str),
}

/// Writes `image` as a series of chunks.
///
/// # Errors
/// As `sink` says.
pub fn encode(image: &Image, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut encoder = Encoder::new(image);
    while let Some(frame) = encoder.next_frame()? {
        sink(&frame)?;
    }
    Ok(())
}

/// Writes an image frame by frame, so that whoever sends it holds one frame and not all of them.
pub struct Encoder<I> {
    image: I,
    /// Items written.
    items: usize,
    ended: bool,
}

impl<I: Borrow<Image>> Encoder<I> {
    /// Starts at the head.
    pub fn new(image: I) -> Self {
        Self { image, items: 0, ended: false }
    }

    /// The next frame: [`FRAME_BYTES`] and at most one object more; `None` behind the last.
    ///
    /// # Errors
    /// Where an item cannot be encoded.
    pub fn next_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let mut frame = vec![0; PREFIX];
        while frame.len() < FRAME_BYTES && !self.ended {
            let item = item(self.image.borrow(), self.items);
            self.ended = item.is_none();
            let item = item.unwrap_or(Item::End { items: self.items as u64 });
            rmp_serde::encode::write(&mut frame, &item).map_err(io::Error::other)?;
            self.items += 1;
        }
        seal(&mut frame)?;
        Ok(Some(frame))
    }
}

/// The `nth` item of an image; `None` behind the last.
fn item(image: &Image, nth: usize) -> Option<Item<'_>> {
    let Some(at) = nth.checked_sub(1) else {
        let (applied, compacted) = (image.applied.0, image.compacted.0);
        return Some(Item::Head { version: VERSION, applied, compacted, consensus: image.consensus.clone().into() });
    };
    if let Some((actor, epoch)) = image.fences.iter().nth(at) {
        return Some(Item::Fence { actor: actor.clone(), epoch: epoch.0 });
    }
    let at = at - image.fences.len();
    if let Some(Done { revision, session, sequence, refusal }) = image.done.get(at).cloned() {
        return Some(Item::Done { revision: revision.0, session, sequence, refusal });
    }
    let at = at - image.done.len();
    if let Some(record) = image.base.get(at) {
        return Some(Item::Base(Row::of(record)));
    }
    let change = image.history.get(at - image.base.len())?;
    Some(Item::Change { kind: change.kind as u8, row: Row::of(&change.record), cause: change.cause })
}

/// Puts length and checksum before the body.
fn seal(frame: &mut [u8]) -> io::Result<()> {
    let body = frame.get(PREFIX..).unwrap_or_default();
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut prefix = len.to_le_bytes().to_vec();
    prefix.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    if let Some(field) = frame.get_mut(..PREFIX) {
        field.copy_from_slice(&prefix);
    }
    Ok(())
}

/// Reads an image from `source`, which is asked for bytes at growing offsets. Where `lent` has the same bytes the values are
/// parts of it, which is not read.
///
/// # Errors
/// [`ReadError`].
pub fn decode(
    source: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
    lent: Option<Bytes>,
) -> Result<Image, ReadError> {
    let mut decoder = Decoder { lent, ..Decoder::default() };
    let mut part = vec![0; PART_BYTES];
    let mut at = 0;
    loop {
        let read = source(at, &mut part).map_err(ReadError::Disk)?;
        decoder.push(part.get(..read).unwrap_or_default())?;
        at += read as u64;
        if read == 0 || decoder.whole {
            return decoder.finish();
        }
    }
}

/// Reads an image from parts cut anywhere. Holds the objects read so far and at most one frame.
#[derive(Default)]
pub struct Decoder {
    rest: Vec<u8>,
    image: Image,
    latest: Latest,
    names: Names,
    items: u64,
    whole: bool,
    /// Bytes that were read before `rest`.
    taken: usize,
    /// All bytes again, where values are to be parts of them.
    lent: Option<Bytes>,
}

impl Decoder {
    /// Takes in the next part.
    ///
    /// # Errors
    /// [`ReadError::Damaged`].
    pub fn push(&mut self, part: &[u8]) -> Result<(), ReadError> {
        self.rest.extend_from_slice(part);
        let rest = std::mem::take(&mut self.rest);
        let mut at = 0;
        while let Some(body) = frame_at(&rest, at)? {
            self.take_frame(body, self.taken + at + PREFIX)?;
            at += PREFIX + body.len();
        }
        self.taken += at;
        self.rest = rest.get(at..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// The image, where all of it has come.
    ///
    /// # Errors
    /// [`ReadError::Damaged`].
    pub fn finish(self) -> Result<Image, ReadError> {
        if self.whole { Ok(self.image) } else { Err(ReadError::Damaged("it ends too early")) }
    }

    fn take_frame(&mut self, body: &[u8], begin: usize) -> Result<(), ReadError> {
        let mut items = rmp_serde::Deserializer::from_read_ref(body);
        while !self.whole {
            let item = match Item::deserialize(&mut items) {
                Ok(item) => item,
                // The end; were it within an item, the count at the end of the image would tell.
                Err(DecodeError::InvalidMarkerRead(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(_) => return Err(ReadError::Damaged("an item is not readable")),
            };
            if let Item::End { items } = item {
                if items != self.items {
                    return Err(ReadError::Damaged("items are missing"));
                }
                self.whole = true;
            } else {
                self.take(item, (body, begin))?;
                self.items += 1;
            }
        }
        Ok(())
    }

    /// The record of `row`, which lies in `frame`, behind the first so many bytes of the image.
    fn record(&mut self, row: Row<'_>, (frame, begin): (&[u8], usize)) -> Result<Arc<Record>, ReadError> {
        let value = row.value.0;
        let lent = |all: &Bytes| {
            let from = begin + (value.as_ptr() as usize).checked_sub(frame.as_ptr() as usize)?;
            (from + value.len() <= all.len()).then(|| all.slice(from..from + value.len()))
        };
        let value = match &self.lent {
            Some(all) => lent(all).ok_or(ReadError::Damaged("it became shorter"))?,
            None => Bytes::copy_from_slice(value),
        };
        Ok(Arc::new(row.record(value, &mut self.names)))
    }

    fn take(&mut self, item: Item<'_>, frame: (&[u8], usize)) -> Result<(), ReadError> {
        match item {
            Item::Base(row) if self.items > 0 => {
                let record = self.record(row, frame)?;
                self.image.base.push(record);
            }
            Item::Change { kind, row, cause } if self.items > 0 => {
                let record = self.record(row, frame)?;
                self.change(kind, record, cause)?;
            }
            other => describe(&mut self.image, other, self.items)?,
        }
        Ok(())
    }

    fn change(&mut self, kind: u8, record: Arc<Record>, cause: u64) -> Result<(), ReadError> {
        let kind = [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted]
            .into_iter()
            .find(|known| *known as u8 == kind)
            .ok_or(ReadError::Damaged("a change is of no known kind"))?;
        let previous = before(&self.image.base, &self.latest, &record.key);
        self.latest.insert(record.key.clone(), (kind != ChangeKind::Deleted).then(|| record.clone()));
        self.image.history.push(Arc::new(Change { kind, record, previous, cause }));
        Ok(())
    }
}

/// The body of the frame at `at`; `None` where not all of it is there.
fn frame_at(bytes: &[u8], at: usize) -> Result<Option<&[u8]>, ReadError> {
    let Some([a, b, c, d, crc @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<PREFIX>()) else {
        return Ok(None);
    };
    let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    if len == 0 || len > FRAME_MAX {
        return Err(ReadError::Damaged("a frame's length cannot be"));
    }
    let Some(body) = bytes.get(at + PREFIX..at + PREFIX + len) else { return Ok(None) };
    let sound = crc32fast::hash(body) == u32::from_le_bytes(*crc);
    if sound { Ok(Some(body)) } else { Err(ReadError::Damaged("a checksum does not match")) }
}

/// What the changes read so far made of the objects that they touch; all others are as in the base. Few, where the base may
/// be a million.
type Latest = std::collections::BTreeMap<ObjectKey, Option<Arc<Record>>>;

/// The version before a change; the base is in key order.
fn before(base: &[Arc<Record>], latest: &Latest, key: &ObjectKey) -> Option<Arc<Record>> {
    if let Some(known) = latest.get(key) {
        return known.clone();
    }
    let at = base.binary_search_by(|record| record.key.cmp(key)).ok()?;
    base.get(at).cloned()
}

/// Takes in what is no record.
fn describe(image: &mut Image, item: Item<'_>, nth: u64) -> Result<(), ReadError> {
    match item {
        Item::Head { version, applied, compacted, consensus } if nth == 0 => {
            if !(1..=VERSION).contains(&version) {
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
        Item::Done { revision, session, sequence, refusal } => {
            image.done.push(Done { revision: Revision(revision), session, sequence, refusal });
        }
        Item::Head { .. } | Item::End { .. } | Item::Base(_) | Item::Change { .. } => {
            return Err(ReadError::Damaged("an item is out of place"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mvcc::Refusal;

    fn read(bytes: &[u8]) -> Result<Image, ReadError> {
        decode(
            &mut |offset, out| {
                let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
                let read = rest.len().min(out.len());
                out[..read].copy_from_slice(&rest[..read]);
                Ok(read)
            },
            None,
        )
    }

    fn of_version(version: u32) -> Vec<u8> {
        let mut frame = vec![0; PREFIX];
        let head = Item::Head { version, applied: 9, compacted: 3, consensus: Bytes::from_static(b"c") };
        for item in [head, Item::Fence { actor: "a".into(), epoch: 4 }, Item::End { items: 2 }] {
            rmp_serde::encode::write(&mut frame, &item).unwrap();
        }
        seal(&mut frame).unwrap();
        frame
    }

    #[test]
    fn images_of_older_versions_are_read_and_newer_ones_refused() {
        for version in 1..=VERSION {
            let image = read(&of_version(version)).unwrap();
            assert_eq!((image.applied, image.compacted, image.fences.len()), (Revision(9), Revision(3), 1));
            assert!(image.done.is_empty());
        }
        assert!(matches!(read(&of_version(VERSION + 1)), Err(ReadError::Damaged(why)) if why.contains("newer")));
    }

    #[test]
    fn tickets_come_back_from_an_image_in_few_bytes() {
        let refusal = Refusal::Conflict {
            key: ObjectKey::new(crate::model::ResourceId::new("", "pods"), "a", "b"),
            actual: None,
        };
        let done = |n: u64| Done {
            revision: Revision(1_000_000 + n),
            session: u64::MAX - n % 3,
            sequence: 500_000 + n,
            refusal: (n == 7).then(|| Box::new(refusal.clone())),
        };
        let image = Image { applied: Revision(2_000_000), done: (0..1000).map(done).collect(), ..Image::default() };
        let mut bytes = Vec::new();
        encode(&image, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .unwrap();
        assert_eq!(read(&bytes).unwrap().done, image.done);
        assert!(bytes.len() < 30_000, "{}", bytes.len());
    }
}
