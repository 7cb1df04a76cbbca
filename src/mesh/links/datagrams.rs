//! The membership's way to other nodes: datagrams on the mesh's connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::Links;
use crate::mesh::fabric::DialError;
use crate::model::NodeId;

/// Datagrams received that wait for the membership; a further one is dropped.
pub const MAX_RECEIVED: usize = 1024;

/// What peers have sent.
pub type Received = mpsc::Receiver<(NodeId, Bytes)>;

/// Sends and receives datagrams by node. Cheap to clone; clones share what is received.
#[derive(Clone)]
pub struct Datagrams {
    links: Links,
    received: Arc<Mutex<Received>>,
}

impl Datagrams {
    /// The datagrams of `links`, `received` being what [`Links::new`] gave.
    pub fn new(links: &Links, received: Received) -> Self {
        Self { links: links.clone(), received: Arc::new(Mutex::new(received)) }
    }

    /// Sends to `peer`, dialling where there is no connection; never waits. It arrives once or not at all.
    pub fn send(&self, peer: &NodeId, datagram: Bytes) {
        let counters = self.links.counters();
        if self.links.send_or_dial(peer, datagram) {
            counters.datagrams_sent.add_one();
        } else {
            counters.datagrams_dropped.add_one();
        }
    }

    /// Sends to whoever answers at `at`, and tells who that is. Always dials.
    pub async fn send_to_address(&self, at: SocketAddr, datagram: Bytes) -> Result<NodeId, DialError> {
        let inner = &self.links.0;
        let channel = timeout(inner.context.settings.dial_within, inner.fabric.dial_any(at)).await;
        let channel = channel.unwrap_or(Err(DialError::Unreachable(at))).inspect_err(|_| {
            self.links.counters().dial_failures.add_one();
        })?;
        let link = self.links.adopt(channel, true);
        let link = link.ok_or_else(|| DialError::Refused { at, reason: "this node refuses it".to_owned() })?;
        if link.channel.send_datagram(datagram).is_ok() {
            self.links.counters().datagrams_sent.add_one();
        }
        Ok(link.peer.clone())
    }

    /// Waits for the next datagram; `None` once the mesh has ended. Cancel-safe.
    pub async fn receive(&self) -> Option<(NodeId, Bytes)> {
        self.received.lock().await.recv().await
    }

    /// Round trip of the connection to `peer`, where there is one.
    pub fn round_trip(&self, peer: &NodeId) -> Option<Duration> {
        self.links.round_trip(peer)
    }

    /// Largest datagram that surely fits the connection to `peer` now.
    pub fn max_datagram(&self, peer: &NodeId) -> Option<usize> {
        self.links.present(peer).map(|link| link.channel.max_datagram())
    }

    /// Where `peer` is now, where there is a connection.
    pub fn remote(&self, peer: &NodeId) -> Option<SocketAddr> {
        self.links.remote(peer)
    }
}
