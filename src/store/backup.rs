//! A backup as bytes: every object at one revision, in key order, in checksummed frames, with a digest over all of it.
//!
//! `source` makes one from a store that runs.
//!
//! The file: eight bytes of magic; then frames of length and CRC-32 (four bytes each, little endian) and a body of named
//! MessagePack: the head, the objects, and an end with their number and the SHA-256 of every byte before its frame.

mod source;

use std::io::{self, Read};

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

pub use source::chunks;

use super::Record;
use crate::model::ObjectKey;

/// What a backup starts with; the last byte is the format that this build writes and reads.
const MAGIC: [u8; 8] = *b"SHOALBK1";
/// Length and checksum before each body.
const PREFIX: usize = 8;
/// Bound on a body when reading: far above the largest object.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the backup cannot be read")]
    Io(#[from] io::Error),
    /// It is none, or not whole, or was changed.
    #[error("this is no whole backup: {0}")]
    Damaged(&'static str),
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Fingerprint of the cluster's authority.
    pub cluster: String,
    /// Every object is as of this revision.
    pub revision: u64,
    /// When it was made, RFC 3339.
    pub time: String,
    /// The program that made it.
    pub release: String,
}

/// An object of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Where it lived.
    pub key: ObjectKey,
    /// Its JSON.
    pub value: Bytes,
}

#[derive(Serialize, Deserialize)]
enum Item {
    Head(Head),
    Object(Object),
    End { objects: u64, sha256: Bytes },
}

/// Writes a backup bit by bit.
pub struct Encoder {
    digest: Context,
    objects: u64,
}

impl Encoder {
    /// Begins; gives the first bytes.
    ///
    /// # Errors
    /// Where it cannot be encoded; so for the others.
    pub fn begin(head: &Head) -> io::Result<(Self, Vec<u8>)> {
        let mut this = Self { digest: Context::new(&SHA256), objects: 0 };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(frame(&Item::Head(head.clone()))?);
        this.digest.update(&bytes);
        Ok((this, bytes))
    }

    /// The next object's bytes.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn object(&mut self, record: &Record) -> io::Result<Vec<u8>> {
        let object = Object { key: record.key.clone(), value: record.value.clone() };
        let bytes = frame(&Item::Object(object))?;
        self.digest.update(&bytes);
        self.objects += 1;
        Ok(bytes)
    }

    /// The last bytes.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn end(self) -> io::Result<Vec<u8>> {
        let sha256 = Bytes::copy_from_slice(self.digest.finish().as_ref());
        frame(&Item::End { objects: self.objects, sha256 })
    }
}

fn frame(item: &Item) -> io::Result<Vec<u8>> {
    let body = rmp_serde::to_vec_named(item).map_err(io::Error::other)?;
    let mut bytes = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes().to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads a backup, object by object. Only what was read to its end is known to be whole.
pub struct Reader<R> {
    source: R,
    head: Head,
    digest: Context,
    objects: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(mut source: R) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        source.read_exact(&mut magic).map_err(|_| Error::Damaged("it is too short"))?;
        if magic != MAGIC {
            return Err(Error::Damaged("it does not begin as one of this release does"));
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&magic);
        let head = Head { cluster: String::new(), revision: 0, time: String::new(), release: String::new() };
        let mut this = Self { source, head, digest, objects: 0, ended: false };
        match this.item()? {
            Item::Head(head) => Ok(Self { head, ..this }),
            _ => Err(Error::Damaged("it has no head")),
        }
    }

    /// What it is of.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next object, in key order; `None` behind the last one, and then the whole is sound.
    ///
    /// # Errors
    /// [`Error`].
    pub fn next_object(&mut self) -> Result<Option<Object>, Error> {
        if self.ended {
            return Ok(None);
        }
        let before = self.digest.clone();
        match self.item()? {
            Item::Object(object) => {
                self.objects += 1;
                Ok(Some(object))
            }
            Item::End { objects, sha256 } => {
                self.ended = true;
                if objects != self.objects || before.finish().as_ref() != sha256.as_ref() {
                    return Err(Error::Damaged("the checksum over all of it does not match"));
                }
                match self.source.read(&mut [0])? {
                    0 => Ok(None),
                    _ => Err(Error::Damaged("something follows its end")),
                }
            }
            Item::Head(_) => Err(Error::Damaged("it has two heads")),
        }
    }

    fn item(&mut self) -> Result<Item, Error> {
        let mut prefix = [0; PREFIX];
        self.fill(&mut prefix)?;
        let [a, b, c, d, crc @ ..] = prefix;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BODY_MAX {
            return Err(Error::Damaged("a frame's length cannot be"));
        }
        let mut body = vec![0; length];
        self.fill(&mut body)?;
        if crc32fast::hash(&body) != u32::from_le_bytes(crc) {
            return Err(Error::Damaged("the checksum of an object does not match"));
        }
        self.digest.update(&prefix);
        self.digest.update(&body);
        rmp_serde::from_slice(&body).map_err(|_| Error::Damaged("an object is not readable"))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Damaged("it ends too early"),
            _ => Error::Io(error),
        })
    }
}

/// Reads all of a backup and keeps nothing; gives its head and the number of its objects.
///
/// # Errors
/// [`Error`], where it is not whole.
pub fn verify(source: impl Read) -> Result<(Head, u64), Error> {
    let mut reader = Reader::open(source)?;
    while reader.next_object()?.is_some() {}
    Ok((reader.head.clone(), reader.objects))
}
