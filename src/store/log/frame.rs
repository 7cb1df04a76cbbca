//! Bytes of the log: a segment's header, and units of records. One unit is one write and one sync.

use bytes::Bytes;

/// Bytes before the first unit of a segment.
pub const HEADER_LEN: usize = 40;
/// Bytes before a unit's body.
pub const UNIT_LEN: usize = 24;
/// Bytes before a record's payload.
pub const RECORD_LEN: usize = 29;
/// Format that this build writes and reads.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"SHOALLOG";
/// First bytes of a unit; recovery looks for it behind a hole to tell damage from a torn tail.
pub const UNIT_MAGIC: [u8; 4] = [0xD5, b'u', b'n', 0xA7];

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A raft entry; the payload is opaque here.
    Entry = 1,
    /// The vote; the payload is opaque here.
    Vote = 2,
    /// Entries from `index` on are void.
    Truncate = 3,
    /// Entries up to `index` are not needed any more.
    Purge = 4,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [Self::Entry, Self::Vote, Self::Truncate, Self::Purge].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The place of an entry in the raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The leader of that term.
    pub leader: u64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub kind: Kind,
    /// Which entry it says it of.
    pub place: Place,
    /// Opaque here.
    pub payload: Bytes,
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Number of the segment, as in its name.
    pub sequence: u64,
    /// Random; every checksum of the segment starts from it, so that bytes of another file never look valid.
    pub salt: u64,
}

/// Why a header is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// Never written: all zero.
    Blank,
    /// Not ours, or damaged.
    Foreign,
    /// Written by a newer build.
    Version(u32),
}

impl Header {
    /// The header's bytes.
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.resize(HEADER_LEN - 4, 0);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let Some(bytes) = bytes.get(..HEADER_LEN) else { return Err(BadHeader::Blank) };
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(BadHeader::Blank);
        }
        let (body, crc) = bytes.split_at(HEADER_LEN - 4);
        if !body.starts_with(&MAGIC) || u32_at(crc, 0) != Some(crc32fast::hash(body)) {
            return Err(BadHeader::Foreign);
        }
        match (u32_at(body, 8), u64_at(body, 12), u64_at(body, 20)) {
            (Some(VERSION), Some(sequence), Some(salt)) => Ok(Self { sequence, salt }),
            (Some(version), ..) => Err(BadHeader::Version(version)),
            _ => Err(BadHeader::Foreign),
        }
    }
}

/// A unit being built.
pub struct Unit {
    bytes: Vec<u8>,
}

impl Unit {
    /// An empty unit that says how far the log was committed.
    pub fn new(committed: u64) -> Self {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(&UNIT_MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&committed.to_le_bytes());
        bytes.resize(UNIT_LEN, 0);
        Self { bytes }
    }

    /// Adds a record; gives its offset in the unit.
    pub fn push(&mut self, record: &Record) -> usize {
        let at = self.bytes.len();
        self.bytes.push(record.kind as u8);
        self.bytes.extend_from_slice(&u32::try_from(record.payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        for part in [record.place.index, record.place.term, record.place.leader] {
            self.bytes.extend_from_slice(&part.to_le_bytes());
        }
        self.bytes.extend_from_slice(&record.payload);
        at
    }

    /// Bytes it will take.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Closes the unit for `offset` of the segment that `salt` belongs to.
    pub fn seal(mut self, salt: u64, offset: u64) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len() - UNIT_LEN).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(4..8) {
            field.copy_from_slice(&len.to_le_bytes());
        }
        let crc = checksum(salt, offset, &self.bytes);
        if let Some(field) = self.bytes.get_mut(8..12) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        self.bytes
    }
}

/// A unit read back.
#[derive(Debug)]
pub struct Parsed {
    /// Bytes it takes in the segment.
    pub size: usize,
    /// How far the log was committed when it was written.
    pub committed: u64,
    /// Its records, each with the offset of its payload from the unit's start.
    pub records: Vec<(usize, Record)>,
}

/// Reads the unit at the start of `bytes`, which lies at `offset` of its segment; `None` where there is none.
pub fn parse(bytes: &Bytes, salt: u64, offset: u64) -> Option<Parsed> {
    if !bytes.starts_with(&UNIT_MAGIC) {
        return None;
    }
    let size = UNIT_LEN.checked_add(u32_at(bytes, 4)? as usize)?;
    if u32_at(bytes, 8)? != checksum(salt, offset, bytes.get(..size)?) {
        return None;
    }
    parse_unchecked(bytes)
}

/// Reads a unit whose checksum somebody else has compared.
pub fn parse_unchecked(bytes: &Bytes) -> Option<Parsed> {
    let size = UNIT_LEN.checked_add(u32_at(bytes, 4)? as usize)?;
    let unit = bytes.get(..size)?;
    let mut records = Vec::new();
    let mut at = UNIT_LEN;
    while at < size {
        let kind = Kind::read(*unit.get(at)?)?;
        let len = u32_at(unit, at + 1)? as usize;
        let place =
            Place { index: u64_at(unit, at + 5)?, term: u64_at(unit, at + 13)?, leader: u64_at(unit, at + 21)? };
        let from = at + RECORD_LEN;
        let to = from.checked_add(len).filter(|to| *to <= size)?;
        records.push((from, Record { kind, place, payload: bytes.slice(from..to) }));
        at = to;
    }
    Some(Parsed { size, committed: u64_at(unit, 12)?, records })
}

/// Covers everything of the unit but the checksum's own field, and where it lies.
fn checksum(salt: u64, offset: u64, unit: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(unit.get(..8).unwrap_or_default());
    hasher.update(unit.get(12..).unwrap_or_default());
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}
