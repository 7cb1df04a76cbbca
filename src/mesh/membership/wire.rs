//! Datagrams of membership as bytes. A reader takes any bytes: it fails, but never panics nor takes more memory than
//! the datagram's length.
//!
//! The first byte says what it is: foca's own gossip, or one of the frames here. The sender's name is not in a frame,
//! it comes from its certificate.

use bytes::{BufMut, Bytes};

use super::roster::{Record, Standing, Told, generation_of, is_name};
use super::settings::{MAX_DATAGRAM, MAX_NAME};
use crate::mesh::member::{MAX_ADDRESSES, MAX_META_BYTES, Meta};

/// First byte of a datagram that is foca's.
pub(super) const FOCA: u8 = 0;

/// A datagram of our own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The sender's number and incarnation.
    pub number: u64,
    pub incarnation: u16,
    pub body: Body<'a>,
}

/// What a frame says. `number` and `incarnation` in here are what the asker knows of the asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// Do you live? `suspected`: everybody is told that you may not. `origin`: who asks, where not the sender.
    Ping { check: u32, number: u64, incarnation: u16, suspected: bool, origin: Option<&'a str> },
    /// I live. `origin`: whom to pass it on to.
    Ack { check: u32, origin: Option<&'a str> },
    /// Ask `target` for me.
    Relay { check: u32, target: &'a str, number: u64, incarnation: u16, suspected: bool },
    /// I have asked it (in place of Lifeguard's nack).
    Receipt { check: u32 },
    /// It lives.
    Relayed { check: u32, target: &'a str, number: u64, incarnation: u16 },
    /// What do you know of names after `cursor` up to `end` (empty: all) beyond what has these digests?
    Ask { cursor: &'a str, end: &'a str, digests: Vec<u64> },
    /// That. There is more after `next` unless that is empty.
    Items { next: &'a str, items: Vec<Item<'a>> },
}

/// What is known of a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub name: &'a str,
    pub number: u64,
    pub incarnation: u16,
    pub standing: Standing,
    pub told: Option<Told>,
}

/// Why bytes are not a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the datagram cannot be read")]
pub(super) struct Malformed;

/// Encodes what a node tells; `None` where it is larger than [`MAX_META_BYTES`].
pub(super) fn encode_meta(meta: &Meta) -> Option<Box<[u8]>> {
    if meta.addresses.len() > MAX_ADDRESSES {
        return None;
    }
    let bytes = rmp_serde::to_vec(meta).ok()?;
    (bytes.len() <= MAX_META_BYTES).then(|| bytes.into_boxed_slice())
}

fn decode_meta(bytes: &[u8]) -> Result<Meta, Malformed> {
    if bytes.len() > MAX_META_BYTES {
        return Err(Malformed);
    }
    let meta: Meta = rmp_serde::from_slice(bytes).map_err(|_| Malformed)?;
    if meta.addresses.len() > MAX_ADDRESSES { Err(Malformed) } else { Ok(meta) }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = text.get(..text.len().min(MAX_NAME)).unwrap_or_default();
    out.put_u8(u8::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

/// Appends an item that says what `record` says.
pub(super) fn put_item(out: &mut Vec<u8>, record: &Record) {
    put_text(out, &record.name.0);
    out.put_u64(record.number);
    out.put_u16(record.incarnation);
    out.put_u8(record.standing as u8);
    match record.current() {
        None => out.put_u8(0),
        Some(told) => {
            out.put_u8(1 + u8::from(told.left));
            out.put_u64(told.version);
            out.put_u16(u16::try_from(told.bytes.len()).unwrap_or(0));
            out.put_slice(&told.bytes);
        }
    }
}

fn start(kind: u8, number: u64, incarnation: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.put_u8(kind);
    out.put_u64(number);
    out.put_u16(incarnation);
    out
}

impl Frame<'_> {
    /// The datagram. [`Body::Items`] has a writer of its own, [`ItemsWriter`].
    pub(super) fn encode(&self) -> Bytes {
        let begin = |kind| start(kind, self.number, self.incarnation);
        let out = match &self.body {
            Body::Ping { check, number, incarnation, suspected, origin } => {
                let mut out = begin(1);
                out.put_u32(*check);
                out.put_u64(*number);
                out.put_u16(*incarnation);
                out.put_u8(u8::from(*suspected));
                put_text(&mut out, origin.unwrap_or_default());
                out
            }
            Body::Ack { check, origin } => {
                let mut out = begin(2);
                out.put_u32(*check);
                put_text(&mut out, origin.unwrap_or_default());
                out
            }
            Body::Relay { check, target, number, incarnation, suspected } => {
                let mut out = begin(3);
                out.put_u32(*check);
                put_text(&mut out, target);
                out.put_u64(*number);
                out.put_u16(*incarnation);
                out.put_u8(u8::from(*suspected));
                out
            }
            Body::Receipt { check } => {
                let mut out = begin(4);
                out.put_u32(*check);
                out
            }
            Body::Relayed { check, target, number, incarnation } => {
                let mut out = begin(5);
                out.put_u32(*check);
                put_text(&mut out, target);
                out.put_u64(*number);
                out.put_u16(*incarnation);
                out
            }
            Body::Ask { cursor, end, digests } => {
                let mut out = begin(6);
                put_text(&mut out, cursor);
                put_text(&mut out, end);
                digests.iter().for_each(|digest| out.put_u64(*digest));
                out
            }
            Body::Items { .. } => begin(7),
        };
        out.into()
    }

    /// Reads a datagram that is not foca's.
    pub(super) fn decode(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(Malformed);
        }
        let mut reader = Reader(bytes);
        let kind = reader.u8()?;
        let (number, incarnation) = (reader.u64()?, reader.u16()?);
        let body = reader.body(kind)?;
        reader.end()?;
        Ok(Frame { number, incarnation, body })
    }
}

/// Writes [`Body::Items`] item by item, up to a datagram's size.
pub(super) struct ItemsWriter {
    out: Vec<u8>,
    room: usize,
    pub count: usize,
}

impl ItemsWriter {
    /// `next` as in [`Body::Items`] is written at the end; room for it is kept.
    pub(super) fn new(number: u64, incarnation: u16) -> Self {
        Self { out: start(7, number, incarnation), room: MAX_DATAGRAM - MAX_NAME - 1, count: 0 }
    }

    /// Adds an item; false where there is no room.
    pub(super) fn add(&mut self, record: &Record) -> bool {
        let before = self.out.len();
        put_item(&mut self.out, record);
        let fits = self.out.len() <= self.room;
        if fits {
            self.count += 1;
        } else {
            self.out.truncate(before);
        }
        fits
    }

    /// The datagram.
    pub(super) fn finish(mut self, next: &str) -> Bytes {
        // The name stands at the end, its length last, so that items can be written before it is known.
        self.out.put_slice(next.as_bytes());
        self.out.put_u8(u8::try_from(next.len()).unwrap_or(0));
        self.out.into()
    }
}

/// Reads one item that is the whole of `bytes`.
pub(super) fn read_item(bytes: &[u8]) -> Result<Item<'_>, Malformed> {
    let mut reader = Reader(bytes);
    let item = reader.item()?;
    reader.end()?;
    Ok(item)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// A name, or nothing.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u8()?;
        let text = std::str::from_utf8(self.take(length.into())?).map_err(|_| Malformed)?;
        if text.is_empty() || is_name(text) { Ok(text) } else { Err(Malformed) }
    }

    fn name(&mut self) -> Result<&'a str, Malformed> {
        self.text().and_then(|text| if text.is_empty() { Err(Malformed) } else { Ok(text) })
    }

    fn origin(&mut self) -> Result<Option<&'a str>, Malformed> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    fn body(&mut self, kind: u8) -> Result<Body<'a>, Malformed> {
        Ok(match kind {
            1 => Body::Ping {
                check: self.u32()?,
                number: self.u64()?,
                incarnation: self.u16()?,
                suspected: self.flag()?,
                origin: self.origin()?,
            },
            2 => Body::Ack { check: self.u32()?, origin: self.origin()? },
            3 => Body::Relay {
                check: self.u32()?,
                target: self.name()?,
                number: self.u64()?,
                incarnation: self.u16()?,
                suspected: self.flag()?,
            },
            4 => Body::Receipt { check: self.u32()? },
            5 => Body::Relayed {
                check: self.u32()?,
                target: self.name()?,
                number: self.u64()?,
                incarnation: self.u16()?,
            },
            6 => Body::Ask { cursor: self.text()?, end: self.text()?, digests: self.digests()? },
            7 => self.items()?,
            _ => return Err(Malformed),
        })
    }

    fn digests(&mut self) -> Result<Vec<u64>, Malformed> {
        let mut digests = Vec::with_capacity(self.0.len() / 8);
        while !self.0.is_empty() {
            digests.push(self.u64()?);
        }
        Ok(digests)
    }

    fn items(&mut self) -> Result<Body<'a>, Malformed> {
        let (length, rest) = self.0.split_last().ok_or(Malformed)?;
        let at = rest.len().checked_sub(usize::from(*length)).ok_or(Malformed)?;
        let (items, next) = rest.split_at_checked(at).ok_or(Malformed)?;
        let next = std::str::from_utf8(next).map_err(|_| Malformed)?;
        if !next.is_empty() && !is_name(next) {
            return Err(Malformed);
        }
        self.0 = items;
        let mut items = Vec::new();
        while !self.0.is_empty() {
            items.push(self.item()?);
        }
        Ok(Body::Items { next, items })
    }

    fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let name = self.name()?;
        let (number, incarnation) = (self.u64()?, self.u16()?);
        let standing = match self.u8()? {
            0 => Standing::Unheard,
            1 => Standing::Alive,
            2 => Standing::Suspect,
            3 => Standing::Down,
            _ => return Err(Malformed),
        };
        let told = match self.u8()? {
            0 => None,
            flag @ (1 | 2) => {
                let version = self.u64()?;
                let length = self.u16()?;
                let bytes = self.take(length.into())?;
                let generation = generation_of(number);
                Some(Told { generation, version, left: flag == 2, meta: decode_meta(bytes)?, bytes: bytes.into() })
            }
            _ => return Err(Malformed),
        };
        Ok(Item { name, number, incarnation, standing, told })
    }
}
