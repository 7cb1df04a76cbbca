//! Frames on the mesh's streams.
//!
//! A frame is its length (u32, big endian) and a MessagePack array whose first item is its kind. On a class stream
//! the caller's side begins with [`Frame::Hello`] and the other side answers with its own; on a byte stream the caller
//! begins with [`Frame::Open`], the answer is [`Frame::Granted`] or [`Frame::Refused`], and what follows is no frame.

pub mod pack;

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::address::{Class, MAX_ACTOR_NAME, Refusal};

/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;
/// Largest frame of the raft stream, in bytes after its length.
pub const MAX_RAFT_FRAME: usize = 8 << 20;
/// Largest frame of the control stream.
pub const MAX_CONTROL_FRAME: usize = 1 << 20;
/// Largest frame of the watch stream.
pub const MAX_WATCH_FRAME: usize = 4 << 20;
/// Largest frame of the bulk stream, and the largest first frame of any stream.
pub const MAX_HEADER_FRAME: usize = 64 << 10;
/// What a frame may need beside its body and its actor's name: kind, numbers, lengths.
pub const MAX_OVERHEAD: usize = 64;
/// Longest text of a refusal that is sent; what is longer is cut.
pub const MAX_REASON: usize = 4 << 10;

/// Largest frame on a class's stream.
pub const fn max_frame(class: Class) -> usize {
    match class {
        Class::Raft => MAX_RAFT_FRAME,
        Class::Control => MAX_CONTROL_FRAME,
        Class::Watch => MAX_WATCH_FRAME,
        Class::Bulk => MAX_HEADER_FRAME,
    }
}

/// One message on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First on a class stream, in each direction.
    Hello {
        /// Newest version of the mesh that the sender speaks.
        protocol: u16,
        /// What the stream is for.
        class: Class,
        /// Which start of the sender's process.
        generation: u64,
    },
    /// A question.
    Call {
        /// Names the call on this stream; never used twice on it.
        id: u64,
        /// Who is asked.
        actor: Arc<str>,
        /// Version of the message.
        version: u16,
        /// How long the caller still waits, in milliseconds.
        deadline_ms: u32,
        /// The message.
        body: Bytes,
    },
    /// A message without an answer.
    Cast {
        /// Whom it is for.
        actor: Arc<str>,
        /// Version of the message.
        version: u16,
        /// The message.
        body: Bytes,
    },
    /// The answer to a call.
    Answer {
        /// The call.
        id: u64,
        /// The answer.
        body: Bytes,
    },
    /// A call, a watch or a byte stream is refused.
    Refused {
        /// The call or watch; 0 on a byte stream.
        id: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The caller no longer waits.
    Cancel {
        /// The call.
        id: u64,
    },
    /// Asks for [`Frame::Ended`] once the actor is gone.
    Watch {
        /// Names the watch; drawn from the same numbers as calls.
        id: u64,
        /// The actor.
        actor: Arc<str>,
    },
    /// The watcher is no longer interested.
    Unwatch {
        /// The watch.
        id: u64,
    },
    /// The watched actor is not exported.
    Ended {
        /// The watch.
        id: u64,
    },
    /// First on a byte stream.
    Open {
        /// Who shall serve it.
        actor: Arc<str>,
        /// What it carries: the priority of both directions.
        class: Class,
        /// Version of the header.
        version: u16,
        /// How long the caller still waits for the grant, in milliseconds.
        deadline_ms: u32,
        /// The header.
        body: Bytes,
    },
    /// The byte stream is granted; its bytes follow.
    Granted {
        /// What the other side has to say first.
        body: Bytes,
    },
}

/// Why bytes are no frame. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Its length is over the limit.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// Told or needed.
        length: usize,
        /// Allowed.
        limit: usize,
    },
    /// It is not encoded as frames are.
    #[error("a frame cannot be read: {0}")]
    Malformed(&'static str),
    /// Nothing known has this number.
    #[error("frames of kind {0} are not known")]
    UnknownKind(u64),
}

impl From<bytes::TryGetError> for FrameError {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Malformed("it ends early")
    }
}

const HELLO: u64 = 0;
const CALL: u64 = 1;
const CAST: u64 = 2;
const ANSWER: u64 = 3;
const REFUSED: u64 = 4;
const CANCEL: u64 = 5;
const WATCH: u64 = 6;
const UNWATCH: u64 = 7;
const ENDED: u64 = 8;
const OPEN: u64 = 9;
const GRANTED: u64 = 10;

impl Frame {
    /// Appends the frame with its length. Nothing is appended where it would be larger than `limit`.
    pub fn encode(&self, limit: usize, out: &mut BytesMut) -> Result<(), FrameError> {
        let needed = self.payload() + MAX_OVERHEAD;
        if needed > limit {
            return Err(FrameError::TooLarge { length: needed, limit });
        }
        let start = out.len();
        out.reserve(LENGTH_BYTES + needed);
        out.put_u32(0);
        self.put(out);
        let length = out.len() - start - LENGTH_BYTES;
        let told = u32::try_from(length).map_err(|_| FrameError::TooLarge { length, limit })?;
        if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
            place.copy_from_slice(&told.to_be_bytes());
        }
        Ok(())
    }

    /// Bytes of its parts without a fixed length.
    pub fn payload(&self) -> usize {
        match self {
            Self::Call { actor, body, .. } | Self::Cast { actor, body, .. } | Self::Open { actor, body, .. } => {
                actor.len() + body.len()
            }
            Self::Answer { body, .. } | Self::Granted { body } => body.len(),
            Self::Watch { actor, .. } => actor.len(),
            Self::Refused { .. } => MAX_REASON,
            Self::Hello { .. } | Self::Cancel { .. } | Self::Unwatch { .. } | Self::Ended { .. } => 0,
        }
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Hello { protocol, class, generation } => {
                put_numbers(out, 4, &[HELLO, u64::from(*protocol), class_number(*class), *generation]);
            }
            Self::Call { id, actor, version, deadline_ms, body } => {
                put_numbers(out, 6, &[CALL, *id, u64::from(*version), u64::from(*deadline_ms)]);
                pack::put_text(out, actor);
                pack::put_bytes(out, body);
            }
            Self::Cast { actor, version, body } => {
                put_numbers(out, 4, &[CAST, u64::from(*version)]);
                pack::put_text(out, actor);
                pack::put_bytes(out, body);
            }
            Self::Answer { id, body } => {
                put_numbers(out, 3, &[ANSWER, *id]);
                pack::put_bytes(out, body);
            }
            Self::Refused { id, refusal } => {
                put_numbers(out, 3, &[REFUSED, *id]);
                pack::put_bytes(out, &encode_refusal(refusal));
            }
            Self::Cancel { id } => put_numbers(out, 2, &[CANCEL, *id]),
            Self::Watch { id, actor } => {
                put_numbers(out, 3, &[WATCH, *id]);
                pack::put_text(out, actor);
            }
            Self::Unwatch { id } => put_numbers(out, 2, &[UNWATCH, *id]),
            Self::Ended { id } => put_numbers(out, 2, &[ENDED, *id]),
            Self::Open { actor, class, version, deadline_ms, body } => {
                let numbers = [OPEN, class_number(*class), u64::from(*version), u64::from(*deadline_ms)];
                put_numbers(out, 6, &numbers);
                pack::put_text(out, actor);
                pack::put_bytes(out, body);
            }
            Self::Granted { body } => {
                put_numbers(out, 2, &[GRANTED]);
                pack::put_bytes(out, body);
            }
        }
    }

    /// Reads a frame without its length.
    pub fn decode(mut input: Bytes) -> Result<Self, FrameError> {
        let fields = pack::array(&mut input)?;
        let kind = pack::uint(&mut input)?;
        let (wanted, frame) = Self::fields(kind, &mut input)?;
        if fields != wanted || !input.is_empty() {
            return Err(FrameError::Malformed("it has more or fewer fields than its kind"));
        }
        Ok(frame)
    }

    fn fields(kind: u64, input: &mut Bytes) -> Result<(u64, Self), FrameError> {
        Ok(match kind {
            HELLO => {
                let (protocol, class) = (pack::small(input)?, class_of(pack::uint(input)?)?);
                (4, Self::Hello { protocol, class, generation: pack::uint(input)? })
            }
            CALL => {
                let (id, version, deadline_ms) = (pack::uint(input)?, pack::small(input)?, pack::small(input)?);
                let actor = actor(input)?;
                (6, Self::Call { id, actor, version, deadline_ms, body: pack::bytes(input)? })
            }
            CAST => {
                let (version, actor) = (pack::small(input)?, actor(input)?);
                (4, Self::Cast { actor, version, body: pack::bytes(input)? })
            }
            ANSWER => (3, Self::Answer { id: pack::uint(input)?, body: pack::bytes(input)? }),
            REFUSED => {
                let id = pack::uint(input)?;
                (3, Self::Refused { id, refusal: decode_refusal(&pack::bytes(input)?)? })
            }
            CANCEL => (2, Self::Cancel { id: pack::uint(input)? }),
            WATCH => (3, Self::Watch { id: pack::uint(input)?, actor: actor(input)? }),
            UNWATCH => (2, Self::Unwatch { id: pack::uint(input)? }),
            ENDED => (2, Self::Ended { id: pack::uint(input)? }),
            OPEN => {
                let class = class_of(pack::uint(input)?)?;
                let (version, deadline_ms) = (pack::small(input)?, pack::small(input)?);
                let actor = actor(input)?;
                (6, Self::Open { actor, class, version, deadline_ms, body: pack::bytes(input)? })
            }
            GRANTED => (2, Self::Granted { body: pack::bytes(input)? }),
            other => return Err(FrameError::UnknownKind(other)),
        })
    }
}

fn put_numbers(out: &mut BytesMut, fields: u8, numbers: &[u64]) {
    pack::put_array(out, fields);
    for number in numbers {
        pack::put_uint(out, *number);
    }
}

fn actor(input: &mut Bytes) -> Result<Arc<str>, FrameError> {
    pack::text(input, MAX_ACTOR_NAME, |text| Arc::from(text))
}

/// The number of a class on the wire.
const fn class_number(class: Class) -> u64 {
    match class {
        Class::Raft => 0,
        Class::Control => 1,
        Class::Watch => 2,
        Class::Bulk => 3,
    }
}

fn class_of(number: u64) -> Result<Class, FrameError> {
    match number {
        0 => Ok(Class::Raft),
        1 => Ok(Class::Control),
        2 => Ok(Class::Watch),
        3 => Ok(Class::Bulk),
        _ => Err(FrameError::Malformed("there is no such class")),
    }
}

/// Room that a refusal's encoding takes beside its text.
const REFUSAL_OVERHEAD: usize = 64;

fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    let cut =
        |text: &str| text.get(..text.floor_char_boundary(MAX_REASON - REFUSAL_OVERHEAD)).unwrap_or(text).to_owned();
    let short = match refusal {
        Refusal::UnknownActor(text) => Refusal::UnknownActor(cut(text)),
        Refusal::UnknownMessage(text) => Refusal::UnknownMessage(cut(text)),
        Refusal::Forbidden(text) => Refusal::Forbidden(cut(text)),
        Refusal::Failed(text) => Refusal::Failed(cut(text)),
        other => other.clone(),
    };
    rmp_serde::to_vec(&short).unwrap_or_default()
}

/// A refusal that this build does not know is still a refusal.
fn decode_refusal(bytes: &[u8]) -> Result<Refusal, FrameError> {
    if bytes.len() > MAX_REASON {
        return Err(FrameError::Malformed("a refusal is too long"));
    }
    Ok(rmp_serde::from_slice(bytes)
        .unwrap_or_else(|error| Refusal::Failed(format!("a refusal of a kind not known here: {error}"))))
}

/// Cuts a stream of bytes into frames. Holds nothing but the limit: the bytes stay in the reader's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    limit: usize,
}

impl Decoder {
    /// Takes frames of at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// Takes the next frame out of `buffer`; `None` where more bytes are needed. Allocates nothing but an actor's name
    /// or a refusal's text, whatever a length claims.
    pub fn feed(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = buffer.first_chunk::<LENGTH_BYTES>().map(|told| u32::from_be_bytes(*told) as usize) else {
            return Ok(None);
        };
        if length > self.limit {
            return Err(FrameError::TooLarge { length, limit: self.limit });
        }
        if buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        Frame::decode(buffer.split_to(length).freeze()).map(Some)
    }
}

/// For fuzzing: reads `bytes` as each class's stream; what is read must come out the same when written again.
///
/// # Panics
/// Where it does not.
pub fn fuzz(bytes: &[u8]) {
    for class in [Class::Raft, Class::Control, Class::Watch, Class::Bulk] {
        let decoder = Decoder::new(max_frame(class));
        let mut buffer = BytesMut::from(bytes);
        while let Ok(Some(frame)) = decoder.feed(&mut buffer) {
            let mut again = BytesMut::new();
            if frame.encode(max_frame(class) + MAX_REASON + MAX_OVERHEAD, &mut again).is_ok() {
                assert_eq!(decoder.feed(&mut again), Ok(Some(frame)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
