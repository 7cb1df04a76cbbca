//! The simulated network as a mesh sees it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::net::pipe::Ending;
use super::net::{DATAGRAM_BYTES, DIAL_TIMEOUT, Net, Side, SimNet, Slot};
use super::time::NodeClock;
use crate::mesh::fabric::{Channel, Close, DialError, Duplex, Fabric, Lost, ReceiveStream, SendStream};
use crate::model::NodeId;

/// How one life of a machine reaches others.
pub struct SimFabric {
    net: SimNet,
    slot: Slot,
    life: u64,
    at: SocketAddr,
    clock: Arc<NodeClock>,
}

impl SimFabric {
    /// The fabric of the machine's present life.
    pub fn new(net: SimNet, slot: Slot, life: u64, at: SocketAddr, clock: Arc<NodeClock>) -> Self {
        Self { net, slot, life, at, clock }
    }

    /// Connects to `peer`, or to whoever of the cluster answers at `at`.
    async fn connect(&self, at: SocketAddr, peer: Option<NodeId>) -> Result<Arc<dyn Channel>, DialError> {
        let begun = self.clock.global();
        let (id, told) = self.net.with(|net| net.dial((self.slot, self.life), at, peer, begun));
        let waiting = Waiting { net: &self.net, clock: &self.clock, id };
        let outcome = until(&told, || self.net.with(|net| net.dial_outcome(id)));
        let conn = tokio::time::timeout(DIAL_TIMEOUT, outcome).await.unwrap_or(Err(DialError::Unreachable(at)))?;
        std::mem::drop(waiting);
        self.channel(conn, 0).ok_or(DialError::Unreachable(at))
    }

    fn channel(&self, conn: u64, side: Side) -> Option<Arc<dyn Channel>> {
        let (peer, remote, notify) = self.net.with(|net| {
            let conn = net.conn(conn)?;
            let (mine, theirs) = (conn.end(side), conn.end(1 - side));
            let notify = [&mine.got_datagram, &mine.got_stream, &mine.ended].map(Arc::clone);
            Some((theirs.name.clone(), theirs.at, notify))
        })?;
        let line = Line { net: self.net.clone(), conn, side, clock: Arc::clone(&self.clock) };
        Some(Arc::new(SimChannel { line, peer, remote, notify }))
    }
}

#[async_trait]
impl Fabric for SimFabric {
    async fn dial(&self, peer: &NodeId, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        self.connect(at, Some(peer.clone())).await
    }

    async fn dial_any(&self, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        self.connect(at, None).await
    }

    async fn accept(&self) -> Option<Arc<dyn Channel>> {
        let accepted = self.net.with(|net| Some(Arc::clone(&net.hosts.get(&self.slot)?.accepted)))?;
        loop {
            let next = || self.net.with(|net| net.hosts.get_mut(&self.slot)?.accepts.pop_front());
            let conn = until(&accepted, next).await;
            if let Some(channel) = self.channel(conn, 1) {
                return Some(channel);
            }
        }
    }

    fn local(&self) -> SocketAddr {
        self.at
    }
}

/// Takes back a dial that nobody waits for any more.
struct Waiting<'a> {
    net: &'a SimNet,
    clock: &'a NodeClock,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let at = self.clock.global();
        self.net.with(|net| net.abandon_dial(self.id, at));
    }
}

/// Waits until `take` gives something; cancel-safe where `take` is.
async fn until<T>(told: &Notify, mut take: impl FnMut() -> Option<T>) -> T {
    loop {
        let notified = told.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if let Some(taken) = take() {
            return taken;
        }
        notified.await;
    }
}

/// One end of a connection.
#[derive(Clone)]
struct Line {
    net: SimNet,
    conn: u64,
    side: Side,
    clock: Arc<NodeClock>,
}

impl Line {
    fn duplex(&self, write: u64, read: u64) -> Duplex {
        Duplex {
            send: Box::new(SimSend { line: self.clone(), pipe: write, over: false }),
            receive: Box::new(SimReceive { line: self.clone(), pipe: read }),
        }
    }

    /// Waits until `take` gives something or the connection is over.
    async fn wait<T>(&self, told: &Notify, mut take: impl FnMut(&mut Net) -> Option<T>) -> Result<T, Lost> {
        until(told, || {
            self.net.with(|net| match net.lost(self.conn, self.side) {
                Some(lost) => Some(Err(lost)),
                None => take(net).map(Ok),
            })
        })
        .await
    }
}

struct SimChannel {
    line: Line,
    peer: NodeId,
    remote: SocketAddr,
    /// Told of datagrams, of streams and of the end.
    notify: [Arc<Notify>; 3],
}

#[async_trait]
impl Channel for SimChannel {
    fn peer(&self) -> &NodeId {
        &self.peer
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn round_trip(&self) -> Duration {
        self.line.net.with(|net| net.round_trip(self.line.conn))
    }

    async fn open(&self) -> Result<Duplex, Lost> {
        let (write, read) = self.line.net.with(|net| net.open_stream(self.line.conn, self.line.side))?;
        Ok(self.line.duplex(write, read))
    }

    async fn accept(&self) -> Result<Duplex, Lost> {
        let (conn, side) = (self.line.conn, self.line.side);
        let [_, told, _] = &self.notify;
        let (read, write) = self.line.wait(told, |net| net.conn_mut(conn)?.end_mut(side).streams.pop_front()).await?;
        Ok(self.line.duplex(write, read))
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), Lost> {
        let at = self.line.clock.global();
        self.line.net.with(|net| net.send_datagram(self.line.conn, self.line.side, at, &datagram))
    }

    fn max_datagram(&self) -> usize {
        DATAGRAM_BYTES
    }

    async fn datagram(&self) -> Result<Bytes, Lost> {
        let (conn, side) = (self.line.conn, self.line.side);
        let [told, _, _] = &self.notify;
        self.line.wait(told, |net| net.conn_mut(conn)?.end_mut(side).datagrams.pop_front()).await
    }

    fn close(&self, why: Close) {
        let at = self.line.clock.global();
        self.line.net.with(|net| net.close(self.line.conn, self.line.side, at, &format!("{why:?}")));
    }

    async fn closed(&self) -> Lost {
        let [_, _, told] = &self.notify;
        match self.line.wait(told, |_| None::<std::convert::Infallible>).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }
}

impl Drop for SimChannel {
    fn drop(&mut self) {
        let Line { net, conn, side, clock } = &self.line;
        let at = clock.global();
        net.with(|net| {
            // A process that was killed says nothing.
            if net.is_alive(*conn, *side) {
                net.close(*conn, *side, at, "dropped");
            }
            net.mark_dropped(*conn, *side);
        });
    }
}

/// The writing half.
struct SimSend {
    line: Line,
    pipe: u64,
    over: bool,
}

impl SendStream for SimSend {
    fn set_priority(&self, _priority: i32) {}
}

impl AsyncWrite for SimSend {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let at = self.line.clock.global();
        self.line.net.with(|net| {
            if let Some(lost) = net.lost(self.line.conn, self.line.side) {
                return Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, lost)));
            }
            if self.over || net.pipe_mut(self.pipe).is_none_or(|pipe| pipe.stopped) {
                return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if let Some(taken) = net.write(self.pipe, at, bytes) {
                return Poll::Ready(Ok(taken));
            }
            if let Some(pipe) = net.pipe_mut(self.pipe) {
                pipe.writer_waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if !self.over {
            self.over = true;
            let at = self.line.clock.global();
            self.line.net.with(|net| net.end_pipe(self.pipe, at, true));
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimSend {
    fn drop(&mut self) {
        let at = self.line.clock.global();
        self.line.net.with(|net| {
            if !self.over && net.is_alive(self.line.conn, self.line.side) {
                net.end_pipe(self.pipe, at, false);
            }
            net.release_pipe(self.pipe, true);
        });
    }
}

/// The reading half.
struct SimReceive {
    line: Line,
    pipe: u64,
}

impl ReceiveStream for SimReceive {}

impl AsyncRead for SimReceive {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let outcome = self.line.net.with(|net| {
            let lost = net.lost(self.line.conn, self.line.side);
            let Some(pipe) = net.pipe_mut(self.pipe) else {
                return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
            };
            if let Some((bytes, waker)) = pipe.take(buffer.remaining()) {
                buffer.put_slice(&bytes);
                return Poll::Ready(Ok(waker));
            }
            match (pipe.ended, lost) {
                (Some(Ending::Finished), _) => Poll::Ready(Ok(None)),
                (Some(Ending::Reset), _) => Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into())),
                (None, Some(lost)) => Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, lost))),
                (None, None) => {
                    pipe.reader_waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        outcome.map_ok(|waker| waker.into_iter().for_each(std::task::Waker::wake))
    }
}

impl Drop for SimReceive {
    fn drop(&mut self) {
        let at = self.line.clock.global();
        self.line.net.with(|net| {
            net.stop_pipe(self.pipe, at);
            net.release_pipe(self.pipe, false);
        });
    }
}
