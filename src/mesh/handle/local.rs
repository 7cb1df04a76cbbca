//! Streams and casts of a node to itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::JoinSet;

use crate::mesh::fabric::{Duplex, ReceiveStream, SendStream};

/// Most streams and casts of a node to itself that go on at a time.
pub const MAX_LOCAL: usize = 4096;
/// Bytes that wait in a local stream, each way.
const PIPE_BYTES: usize = 64 << 10;

/// What goes on locally without a caller who waits.
#[derive(Default)]
pub struct Streams {
    tasks: JoinSet<()>,
    ended: bool,
}

impl Streams {
    /// Starts a task; fails where too many go on, or the mesh has ended.
    pub fn begin(&mut self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), ()> {
        while self.tasks.try_join_next().is_some() {}
        if self.ended || self.tasks.len() >= MAX_LOCAL {
            return Err(());
        }
        self.tasks.spawn(task);
        Ok(())
    }

    /// Ends all of them and takes no more.
    pub fn end(&mut self) {
        self.ended = true;
        self.tasks.abort_all();
    }
}

/// Both ends of a stream inside this process.
pub fn pair() -> (Duplex, Duplex) {
    let (near_send, far_receive) = tokio::io::duplex(PIPE_BYTES);
    let (far_send, near_receive) = tokio::io::duplex(PIPE_BYTES);
    (joined(near_send, near_receive), joined(far_send, far_receive))
}

fn joined(send: DuplexStream, receive: DuplexStream) -> Duplex {
    Duplex { send: Box::new(LocalSend(send)), receive: Box::new(LocalReceive(receive)) }
}

/// Writes one pipe; dropping it ends the pipe.
struct LocalSend(DuplexStream);

impl AsyncWrite for LocalSend {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl SendStream for LocalSend {
    fn set_priority(&self, _priority: i32) {}
}

struct LocalReceive(DuplexStream);

impl AsyncRead for LocalReceive {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, bytes)
    }
}

impl ReceiveStream for LocalReceive {}
