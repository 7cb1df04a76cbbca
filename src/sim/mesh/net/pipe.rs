//! One direction of a stream: in order, nothing lost, as long as its connection lives.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

use super::Side;
use crate::sim::mesh::time::At;

/// Bytes under way and unread that a writer may be ahead of its reader, as a QUIC stream's receive window.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// Largest chunk that travels at once.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// What travels.
#[derive(Debug)]
pub enum Chunk {
    /// Content.
    Bytes(Bytes),
    /// The writer has finished.
    End,
    /// The writer was dropped.
    Reset,
}

/// A direction of a stream.
#[derive(Debug)]
pub struct Pipe {
    /// Its connection, and the side that writes.
    pub conn: u64,
    /// The side that writes.
    pub writer: Side,
    /// The other direction, and whether the first chunk of this one tells the reader of the stream.
    pub announces: Option<u64>,
    /// Under way: when the head arrives is in the queue of events.
    pub under_way: VecDeque<(At, Chunk)>,
    /// Arrived and unread.
    pub arrived: VecDeque<Bytes>,
    /// Bytes in `under_way` and `arrived`.
    pub held_bytes: usize,
    /// How the direction ended, once that has arrived.
    pub ended: Option<Ending>,
    /// The reader has told the writer to stop, and that has arrived.
    pub stopped: bool,
    /// Which halves still have an owner: writing, reading.
    pub owned: (bool, bool),
    /// Who waits for bytes.
    pub reader_waker: Option<Waker>,
    /// Who waits for room.
    pub writer_waker: Option<Waker>,
}

/// How a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Finished,
    /// By a reset.
    Reset,
}

impl Pipe {
    /// A fresh direction.
    pub fn new(conn: u64, writer: Side, announces: Option<u64>) -> Self {
        Self {
            conn,
            writer,
            announces,
            under_way: VecDeque::new(),
            arrived: VecDeque::new(),
            held_bytes: 0,
            ended: None,
            stopped: false,
            owned: (true, true),
            reader_waker: None,
            writer_waker: None,
        }
    }

    /// How many bytes the writer may write now.
    pub fn room(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.held_bytes).min(CHUNK_BYTES)
    }

    /// Takes the head of what is under way; gives who waits for it.
    pub fn arrive(&mut self) -> Option<Waker> {
        match self.under_way.pop_front()?.1 {
            Chunk::Bytes(bytes) => self.arrived.push_back(bytes),
            Chunk::End => self.ended = Some(Ending::Finished),
            Chunk::Reset => {
                self.held_bytes = 0;
                self.arrived.clear();
                self.ended = Some(Ending::Reset);
            }
        }
        self.reader_waker.take()
    }

    /// Takes up to `most` bytes that have arrived; gives who waits for room.
    pub fn take(&mut self, most: usize) -> Option<(Bytes, Option<Waker>)> {
        let head = self.arrived.front_mut()?;
        let bytes = head.split_to(most.min(head.len()));
        if head.is_empty() {
            self.arrived.pop_front();
        }
        self.held_bytes = self.held_bytes.saturating_sub(bytes.len());
        Some((bytes, self.writer_waker.take()))
    }
}
