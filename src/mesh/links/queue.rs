//! What waits to be written to a stream: encoded frames, bounded in number and bytes, taken all at once.

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mesh::address::Class;
use crate::mesh::wire::{Frame, LENGTH_BYTES, max_frame};

/// Most frames that wait on one stream.
pub const MAX_FRAMES: usize = 4096;
/// A buffer larger than this is given back once it is written, so that a burst does not stay in memory.
pub const KEPT_BYTES: usize = 32 << 10;

/// Most bytes that wait on a class's stream; one frame is always taken.
pub const fn max_bytes(class: Class) -> usize {
    match class {
        Class::Raft => 16 << 20,
        Class::Control | Class::Watch => 8 << 20,
        Class::Bulk => 1 << 20,
    }
}

/// Why a frame was not put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There is no room now.
    NoRoom,
    /// It is larger than the class's limit.
    TooLarge,
    /// The stream has ended.
    Ended,
}

/// Frames of one stream on their way out.
pub struct Queue {
    class: Class,
    waiting: Mutex<Waiting>,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: BytesMut,
    frames: usize,
    ended: bool,
}

impl Queue {
    /// An empty queue with the class's bounds.
    pub fn new(class: Class) -> Self {
        Self { class, waiting: Mutex::default(), filled: Notify::new(), drained: Notify::new() }
    }

    /// Puts `frame` in where there is room.
    pub fn try_push(&self, frame: &Frame) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return Err(Full::Ended);
        }
        let size = waiting.bytes.len() + frame.payload() + LENGTH_BYTES;
        if waiting.frames >= MAX_FRAMES || (waiting.frames > 0 && size > max_bytes(self.class)) {
            return Err(Full::NoRoom);
        }
        frame.encode(max_frame(self.class), &mut waiting.bytes).map_err(|_| Full::TooLarge)?;
        waiting.frames += 1;
        let first = waiting.frames == 1;
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Puts `frame` in, waiting for room. Cancel-safe.
    pub async fn push(&self, frame: &Frame) -> Result<(), Full> {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            match self.try_push(frame) {
                Err(Full::NoRoom) => drained.await,
                other => return other,
            }
        }
    }

    /// Waits for frames and takes all of them into `taken`, which must be empty; gives their number, `None` once the
    /// queue has ended. Cancel-safe. For one reader.
    pub async fn take(&self, taken: &mut BytesMut) -> Option<usize> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.ended {
                    return None;
                }
                if waiting.frames > 0 {
                    std::mem::swap(&mut waiting.bytes, taken);
                    let frames = std::mem::take(&mut waiting.frames);
                    drop(waiting);
                    self.drained.notify_waiters();
                    return Some(frames);
                }
            }
            self.filled.notified().await;
        }
    }

    /// Ends the queue: what waits is dropped, whoever waits is told.
    pub fn end(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting { ended: true, ..Waiting::default() };
        drop(waiting);
        self.filled.notify_one();
        self.drained.notify_waiters();
    }
}
