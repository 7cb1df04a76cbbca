//! Bytes between a stream and its frames: batches out, frames in.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::queue::{KEPT_BYTES, Queue};
use crate::mesh::address::Class;
use crate::mesh::fabric::{ReceiveStream, SendStream};
use crate::mesh::wire::{Decoder, Frame, FrameError, LENGTH_BYTES, MAX_HEADER_FRAME, max_frame};

/// Least room offered to a read; what an idle stream keeps.
const MIN_READ: usize = 512;
/// Most room offered to a read, whatever a frame's length claims.
const MAX_READ: usize = 256 << 10;

/// Where a class goes first, goes last: for [`SendStream::set_priority`].
pub const fn priority(class: Class) -> i32 {
    match class {
        Class::Raft => 3,
        Class::Control => 2,
        Class::Watch => 1,
        Class::Bulk => 0,
    }
}

/// Writes what comes into `queue` until it ends: all that waits in one go, one flush.
pub async fn write(queue: &Queue, send: &mut dyn SendStream) -> io::Result<()> {
    let mut batch = BytesMut::new();
    let mut crowded = false;
    loop {
        if crowded {
            // Where frames come in numbers, those that are about to come share this write.
            tokio::task::yield_now().await;
        }
        let Some(frames) = queue.take(&mut batch).await else { return Ok(()) };
        send.write_all(&batch).await?;
        send.flush().await?;
        crowded = frames > 1;
        batch.clear();
        if batch.capacity() > KEPT_BYTES || !crowded {
            batch = BytesMut::new();
        }
    }
}

/// Why nothing more is read from a stream.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream or its connection has ended.
    #[error("the stream ended")]
    Ended(#[from] io::Error),
    /// What came is no frame.
    #[error("the stream cannot be read")]
    Frame(#[from] FrameError),
}

/// Writes one frame by itself.
pub async fn write_one(frame: &Frame, send: &mut dyn SendStream) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    frame.encode(MAX_HEADER_FRAME, &mut bytes).map_err(io::Error::other)?;
    send.write_all(&bytes).await?;
    send.flush().await
}

/// Reads the first frame of a stream and not a byte more.
pub async fn read_one(receive: &mut dyn ReceiveStream) -> Result<Frame, ReadError> {
    let length = receive.read_u32().await? as usize;
    if length > MAX_HEADER_FRAME {
        return Err(FrameError::TooLarge { length, limit: MAX_HEADER_FRAME }.into());
    }
    let mut body = BytesMut::new();
    while body.len() < length {
        let missing = length - body.len();
        body.reserve(missing.min(MIN_READ));
        if (&mut *receive).take(missing as u64).read_buf(&mut body).await? == 0 {
            return Err(ReadError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(Frame::decode(Bytes::from(body))?)
}

/// Reads the frames of a class stream.
pub struct Reader {
    receive: Box<dyn ReceiveStream>,
    decoder: Decoder,
    buffer: BytesMut,
    /// Room for the next read: grows while reads fill it, shrinks while they do not.
    room: usize,
}

impl Reader {
    /// Reads frames of `class`.
    pub fn new(class: Class, receive: Box<dyn ReceiveStream>) -> Self {
        Self { receive, decoder: Decoder::new(max_frame(class)), buffer: BytesMut::new(), room: MIN_READ }
    }

    /// The next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Frame, ReadError> {
        loop {
            if let Some(frame) = self.decoder.feed(&mut self.buffer)? {
                return Ok(frame);
            }
            self.make_room();
            let read = self.receive.read_buf(&mut self.buffer).await?;
            if read == 0 {
                return Err(ReadError::Ended(io::ErrorKind::UnexpectedEof.into()));
            }
            self.room = match read {
                _ if read >= self.room => (self.room * 2).min(MAX_READ),
                _ if read < self.room / 4 => (self.room / 2).max(MIN_READ),
                _ => self.room,
            };
        }
    }

    fn make_room(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * self.room {
            self.buffer = BytesMut::new();
        }
        let told = self.buffer.first_chunk::<LENGTH_BYTES>().map_or(0, |told| u32::from_be_bytes(*told) as usize);
        let missing = (LENGTH_BYTES + told).saturating_sub(self.buffer.len());
        self.buffer.reserve(missing.clamp(self.room, MAX_READ));
    }
}
