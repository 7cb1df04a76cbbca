//! A connection between two nodes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{Connection, SendDatagramError, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::{code, transport, tunnels};
use crate::mesh::fabric::{Channel, Close, Duplex, Lost, ReceiveStream, SendStream};
use crate::model::NodeId;

/// The byte that says: you are let in.
const WELCOME: u8 = 1;
/// What an abandoned stream is reset with.
const ABANDONED: VarInt = VarInt::from_u32(1);

/// A connection to a peer. Dropping it closes the connection, its streams with it.
pub struct QuicChannel {
    connection: Connection,
    peer: NodeId,
    chain: Vec<CertificateDer<'static>>,
    registry: Weak<Registry>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl QuicChannel {
    pub(super) fn new(
        connection: Connection,
        peer: NodeId,
        chain: Vec<CertificateDer<'static>>,
        permit: OwnedSemaphorePermit,
        registry: &Arc<Registry>,
    ) -> Arc<Self> {
        let id = registry.next.fetch_add(1, Ordering::Relaxed);
        let registry_weak = Arc::downgrade(registry);
        let channel = Arc::new(Self { connection, peer, chain, registry: registry_weak, id, _permit: permit });
        registry.open.lock().insert(id, Arc::downgrade(&channel));
        channel
    }

    /// The certificates that the peer has shown, its own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// QUIC's own counts: packets, losses, window, path.
    pub fn stats(&self) -> quinn::ConnectionStats {
        self.connection.stats()
    }
}

impl Drop for QuicChannel {
    fn drop(&mut self) {
        self.connection.close(code::IDLE, b"");
        if let Some(registry) = self.registry.upgrade() {
            registry.open.lock().remove(&self.id);
        }
    }
}

/// The connections that are open, in the order in which they were made.
#[derive(Default)]
pub(super) struct Registry {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Weak<QuicChannel>>>,
}

impl Registry {
    /// All of them, now.
    pub fn open(&self) -> Vec<Arc<QuicChannel>> {
        self.open.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// What the other end has shown; empty where it has shown nothing.
pub(super) fn chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let found = connection.peer_identity().and_then(|found| found.downcast::<Vec<CertificateDer<'static>>>().ok());
    found.map(|chain| *chain).unwrap_or_default()
}

/// Lets the dialling side in.
pub(super) async fn welcome(connection: &Connection) -> Option<()> {
    let mut stream = connection.open_uni().await.ok()?;
    stream.write_all(&[WELCOME]).await.ok()?;
    stream.finish().ok()
}

/// Waits until the other side lets this one in.
pub(super) async fn welcomed(connection: &Connection) -> Result<(), quinn::ConnectionError> {
    let mut stream = connection.accept_uni().await?;
    match stream.read_to_end(1).await {
        Ok(said) if said == [WELCOME] => Ok(()),
        _ => {
            connection.close(code::PROTOCOL, b"no welcome");
            Err(connection.closed().await)
        }
    }
}

fn lost(error: impl std::fmt::Display) -> Lost {
    Lost(error.to_string())
}

#[async_trait]
impl Channel for QuicChannel {
    fn peer(&self) -> &NodeId {
        &self.peer
    }

    fn remote(&self) -> SocketAddr {
        let remote = self.connection.remote_address();
        SocketAddr::new(remote.ip().to_canonical(), remote.port())
    }

    fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }

    fn is_relayed(&self) -> bool {
        tunnels::virtual_address(self.connection.remote_address().ip()).is_some()
    }

    fn packets(&self) -> (u64, u64) {
        let stats = self.connection.stats();
        (stats.udp_tx.datagrams, stats.udp_rx.datagrams)
    }

    async fn open(&self) -> Result<Duplex, Lost> {
        self.connection.open_bi().await.map(duplex).map_err(lost)
    }

    async fn accept(&self) -> Result<Duplex, Lost> {
        let (send, receive) = self.connection.accept_bi().await.map_err(lost)?;
        transport::grow(&self.connection, receive.id().index());
        Ok(duplex((send, receive)))
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), Lost> {
        match self.connection.send_datagram(datagram) {
            Err(SendDatagramError::ConnectionLost(error)) => Err(lost(error)),
            // Too large, or for a peer that takes none: dropped, as any datagram may be.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn max_datagram(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    async fn datagram(&self) -> Result<Bytes, Lost> {
        self.connection.read_datagram().await.map_err(lost)
    }

    fn close(&self, why: Close) {
        let (code, text): (_, &[u8]) = match why {
            Close::Idle => (code::IDLE, b"idle"),
            Close::Stopping => (code::STOPPING, b"the node stops"),
            Close::Refused => (code::REFUSED, b"not a member"),
        };
        self.connection.close(code, text);
    }

    async fn closed(&self) -> Lost {
        lost(self.connection.closed().await)
    }
}

fn duplex((send, receive): (quinn::SendStream, quinn::RecvStream)) -> Duplex {
    Duplex { send: Box::new(Sending { stream: send, ended: false }), receive: Box::new(Receiving { stream: receive }) }
}

struct Sending {
    stream: quinn::SendStream,
    /// Ended in order: a reset would throw away what has not arrived yet.
    ended: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        // By itself a dropped stream would end in order, and half a message look whole.
        if !self.ended {
            let _ = self.stream.reset(ABANDONED);
        }
    }
}

impl SendStream for Sending {
    fn set_priority(&self, priority: i32) {
        // Fails only for a stream that has ended.
        let _ = self.stream.set_priority(priority);
    }
}

impl AsyncWrite for Sending {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(())) // QUIC sends by itself
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.ended |= matches!(shut, Poll::Ready(Ok(())));
        shut
    }
}

struct Receiving {
    stream: quinn::RecvStream,
}

impl ReceiveStream for Receiving {}

impl AsyncRead for Receiving {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.stream), cx, buf)
    }
}
