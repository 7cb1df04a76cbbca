//! The network below the links, as traits: authenticated connections between nodes, with streams and datagrams.
//!
//! `quic` is the real one, `memory` joins nodes of one process (tests), the simulator brings a third with faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::version::Versions;
use crate::model::NodeId;

/// Makes and takes connections. The other end of each has shown a certificate of the cluster; its name is certain.
#[async_trait]
pub trait Fabric: Send + Sync + 'static {
    /// Connects to `peer` at `at`. Fails where somebody else answers there.
    async fn dial(&self, peer: &NodeId, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError>;

    /// Connects to whoever of the cluster answers at `at` (a seed whose name is not known); [`Channel::peer`] tells who.
    async fn dial_any(&self, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        Err(DialError::Refused { at, reason: "this fabric dials by name only".to_owned() })
    }

    /// Waits for the next connection from a peer; `None` once the fabric has ended. Cancel-safe.
    async fn accept(&self) -> Option<Arc<dyn Channel>>;

    /// Where this node listens.
    fn local(&self) -> SocketAddr;

    /// Whether [`Fabric::tunnel`] may give one.
    fn has_tunnels(&self) -> bool {
        false
    }

    /// This node's end of a new tunnel through another node; `None` where the fabric has no tunnels, or where too many
    /// are open.
    fn tunnel(&self) -> Option<Box<dyn Tunnel>> {
        None
    }
}

/// One end of a tunnel: packets of connections with one peer, which another node carries. Whoever carries them can
/// neither read nor forge them, because each end checks the other's certificate as on any connection. The connections
/// through it are lost when it is dropped.
#[async_trait]
pub trait Tunnel: Send + Sync + 'static {
    /// What to dial for a connection through it: an address that means something to this fabric only.
    fn at(&self) -> SocketAddr;

    /// Waits for packets to the peer and puts all that wait into `frames`, each after its length as a big-endian `u16`.
    /// What does not fit its queue is dropped, as on any network. Cancel-safe.
    async fn outgoing(&self, frames: &mut BytesMut);

    /// Takes a packet that the peer has sent, or drops it.
    fn incoming(&self, packet: &[u8]);
}

/// A connection to one peer.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Who is at the other end: from its certificate, never from what it says.
    fn peer(&self) -> &NodeId;

    /// Where it is now; changes where a connection migrates.
    fn remote(&self) -> SocketAddr;

    /// Smoothed round trip.
    fn round_trip(&self) -> Duration;

    /// Whether another node carries its packets.
    fn is_relayed(&self) -> bool {
        false
    }

    /// Packets sent and received since it was made; both stay 0 where nobody counts.
    fn packets(&self) -> (u64, u64) {
        (0, 0)
    }

    /// A new stream; waits where the peer allows no more streams now.
    async fn open(&self) -> Result<Duplex, Lost>;

    /// Waits for a stream that the peer opens. Cancel-safe.
    async fn accept(&self) -> Result<Duplex, Lost>;

    /// Sends a datagram: it arrives once, or not at all. Dropped where it is larger than [`Channel::max_datagram`] or
    /// the queue is full.
    fn send_datagram(&self, datagram: Bytes) -> Result<(), Lost>;

    /// Largest datagram in bytes, now.
    fn max_datagram(&self) -> usize;

    /// Waits for a datagram. Cancel-safe.
    async fn datagram(&self) -> Result<Bytes, Lost>;

    /// Ends the connection; everything on it fails at both ends.
    fn close(&self, why: Close);

    /// Waits until the connection has ended. Cancel-safe.
    async fn closed(&self) -> Lost;
}

/// A stream in both directions.
pub struct Duplex {
    /// What this side writes. Shutting it down ends this direction in order; dropping it before that resets it.
    pub send: Box<dyn SendStream>,
    /// What the other side writes.
    pub receive: Box<dyn ReceiveStream>,
}

/// The writing half.
pub trait SendStream: AsyncWrite + Send + Sync + Unpin + 'static {
    /// Higher goes first where streams of one connection compete.
    fn set_priority(&self, priority: i32);
}

/// The reading half. Dropping it tells the peer to stop.
pub trait ReceiveStream: AsyncRead + Send + Sync + Unpin + 'static {}

/// Why a connection is ended by this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Nothing has been sent for long, or another connection to the peer is kept instead.
    Idle,
    /// The node stops.
    Stopping,
    /// The peer is no longer a member, or broke the protocol.
    Refused,
}

/// A connection is gone. What had been sent may or may not have arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection is lost: {0}")]
pub struct Lost(pub String);

/// Why there is no connection. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nobody answers.
    #[error("no answer from {0}")]
    Unreachable(SocketAddr),
    /// Somebody answers who is not the peer, or not of this cluster, or who does not accept this node.
    #[error("{at} refused the connection, or is another node: {reason}")]
    Refused {
        /// Where.
        at: SocketAddr,
        /// What TLS says.
        reason: String,
    },
    /// Somebody answers who speaks no version of the mesh that this node does.
    #[error(
        "{at} speaks no version of the mesh that this node does ({own}): upgrade through a release that speaks both"
    )]
    Version {
        /// Where.
        at: SocketAddr,
        /// What this node speaks.
        own: Versions,
    },
}
