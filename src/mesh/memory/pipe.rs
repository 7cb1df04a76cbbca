//! One direction of a stream: bytes on their way, bounded, each piece with the time when it arrives.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::HELD_FOR;
use super::connection::Connection;
use crate::mesh::fabric::{ReceiveStream, SendStream};

/// Most bytes on their way; a writer waits beyond.
const WINDOW: usize = 256 << 10;

/// What both ends of a direction share.
pub struct Pipe {
    connection: Arc<Connection>,
    /// Which end writes.
    from: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    finished: bool,
    reset: bool,
    stopped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    fn wake(&mut self) {
        for waker in self.reader.take().into_iter().chain(self.writer.take()) {
            waker.wake();
        }
    }
}

impl Pipe {
    pub fn new(connection: &Arc<Connection>, from: usize) -> Arc<Self> {
        Arc::new(Self { connection: connection.clone(), from, state: Mutex::default() })
    }

    /// Whoever waits looks again.
    pub fn wake(&self) {
        self.state.lock().wake();
    }

    fn broken(&self) -> Option<io::Error> {
        (!self.connection.is_up()).then(|| io::ErrorKind::ConnectionReset.into())
    }
}

/// The writing end.
pub struct Sender(pub Arc<Pipe>);

impl AsyncWrite for Sender {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state.lock();
        if let Some(error) = self.0.broken() {
            return Poll::Ready(Err(error));
        }
        if state.stopped || state.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW - state.bytes;
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let piece = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        // Held pieces are held by the reader, which asks again.
        let delay = self.0.connection.passage(self.0.from).unwrap_or_default();
        let last = state.pieces.back().map(|(at, _)| *at);
        let at = (Instant::now() + delay).max(last.unwrap_or_else(Instant::now));
        state.pieces.push_back((at, Bytes::copy_from_slice(piece)));
        state.bytes += piece.len();
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.broken().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        state.finished = true;
        state.wake();
        Poll::Ready(Ok(()))
    }
}

impl SendStream for Sender {
    fn set_priority(&self, _priority: i32) {}
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.reset = !state.finished;
        state.wake();
    }
}

/// The reading end.
pub struct Receiver {
    pub pipe: Arc<Pipe>,
    pub alarm: Option<Pin<Box<Sleep>>>,
}

impl Receiver {
    fn wait_until(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        alarm.as_mut().reset(at);
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Receiver {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let pipe = self.pipe.clone();
        loop {
            let mut state = pipe.state.lock();
            if let Some(error) = pipe.broken() {
                return Poll::Ready(Err(error));
            }
            if state.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            state.reader = Some(cx.waker().clone());
            let now = Instant::now();
            let wait = match state.pieces.front() {
                None if state.finished => return Poll::Ready(Ok(())),
                None => return Poll::Pending,
                Some(_) if pipe.connection.passage(pipe.from).is_none() => now + HELD_FOR,
                Some((at, _)) if *at > now => *at,
                Some(_) => {
                    let taken = state.take(out);
                    if taken && let Some(writer) = state.writer.take() {
                        writer.wake();
                    }
                    return Poll::Ready(Ok(()));
                }
            };
            drop(state);
            if !self.wait_until(wait, cx) {
                return Poll::Pending;
            }
        }
    }
}

impl State {
    fn take(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let Some((_, piece)) = self.pieces.front_mut() else { return false };
        let length = piece.len().min(out.remaining());
        out.put_slice(piece.get(..length).unwrap_or_default());
        piece.advance(length);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.bytes -= length;
        length > 0
    }
}

impl ReceiveStream for Receiver {}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.stopped = true;
        state.wake();
    }
}
