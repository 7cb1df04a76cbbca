//! Connections between nodes: dialled, accepted, and ended where a certificate is no longer believed.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use quinn::{ConnectError, Connection, ConnectionError, TransportErrorCode};

use super::channel::{self, QuicChannel};
use super::counters::Event;
use super::endpoint::Endpoint;
use super::tunnels::QuicTunnel;
use super::{ANY_NODE, DIAL_TIMEOUT, code};
use crate::mesh::fabric::{Channel, Close, DialError, Fabric, Tunnel};
use crate::mesh::version::spoken;
use crate::model::NodeId;

/// TLS's alert `no_application_protocol` (RFC 7301, 3.2).
const NO_VERSION: u8 = 120;

/// The fabric of an [`Endpoint`]; the endpoint must run for anything to be accepted.
pub struct QuicFabric {
    endpoint: Endpoint,
}

impl QuicFabric {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Looks at the certificate of every open connection again and ends those that are no longer believed; their
    /// number. Call where members are removed, certificates revoked, or authorities withdrawn.
    pub fn recheck(&self) -> usize {
        let shared = &self.endpoint.shared;
        let refused = |channel: &&Arc<QuicChannel>| !matches!(shared.credentials.peer(channel.chain()), Ok(peer) if peer == *channel.peer());
        let open = shared.registry.open();
        let ended = open.iter().filter(refused).inspect(|channel| {
            tracing::info!(peer = %channel.peer(), "the certificate of a connection is no longer believed");
            shared.counters.add(Event::PeerRefused);
            channel.close(Close::Refused);
        });
        ended.count()
    }

    /// The connections that are open, dialled or accepted.
    pub fn open(&self) -> Vec<Arc<QuicChannel>> {
        self.endpoint.shared.registry.open()
    }

    async fn connect(&self, peer: Option<&NodeId>, at: SocketAddr) -> Result<Arc<QuicChannel>, DialError> {
        let attempt = self.attempt(peer, at);
        tokio::time::timeout(DIAL_TIMEOUT, attempt).await.unwrap_or(Err(DialError::Unreachable(at)))
    }

    async fn attempt(&self, peer: Option<&NodeId>, at: SocketAddr) -> Result<Arc<QuicChannel>, DialError> {
        let shared = &self.endpoint.shared;
        let refused = |reason: String| DialError::Refused { at, reason };
        let Ok(permit) = shared.peers.clone().try_acquire_owned() else {
            return Err(refused("this node has too many connections".into()));
        };
        let config = shared.dialling.read().clone();
        let name = peer.map_or(ANY_NODE, |peer| &*peer.0);
        let connecting = shared.quinn.connect_with(config, at, name).map_err(|error| match error {
            ConnectError::InvalidServerName(_) => refused(error.to_string()),
            _ => DialError::Unreachable(at),
        })?;
        let connection = connecting.await.map_err(|error| failed(at, &error))?;
        let chain = channel::chain(&connection);
        let found = shared.credentials.peer(&chain).map_err(|reason| turn_away(&connection, refused(reason)))?;
        if peer.is_some_and(|peer| *peer != found) {
            return Err(turn_away(&connection, refused(format!("{found} answers there"))));
        }
        channel::welcomed(&connection).await.map_err(|error| failed(at, &error))?;
        shared.counters.add(Event::PeerDialled);
        Ok(QuicChannel::new(connection, found, chain, permit, &shared.registry))
    }
}

fn turn_away(connection: &Connection, error: DialError) -> DialError {
    connection.close(code::UNTRUSTED, b"not the node that was dialled");
    error
}

fn failed(at: SocketAddr, error: &ConnectionError) -> DialError {
    match error {
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(NO_VERSION) => {
            DialError::Version { at, own: spoken() }
        }
        ConnectionError::TimedOut | ConnectionError::Reset | ConnectionError::LocallyClosed => {
            DialError::Unreachable(at)
        }
        error => DialError::Refused { at, reason: error.to_string() },
    }
}

#[async_trait]
impl Fabric for QuicFabric {
    async fn dial(&self, peer: &NodeId, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        Ok(self.connect(Some(peer), at).await?)
    }

    async fn dial_any(&self, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        Ok(self.connect(None, at).await?)
    }

    async fn accept(&self) -> Option<Arc<dyn Channel>> {
        let shared = &self.endpoint.shared;
        let mut to_accept = shared.to_accept.lock().await;
        tokio::select! {
            biased;
            () = shared.ended.cancelled() => None,
            channel = to_accept.recv() => channel.map(|channel| channel as Arc<dyn Channel>),
        }
    }

    fn local(&self) -> SocketAddr {
        self.endpoint.local()
    }

    fn has_tunnels(&self) -> bool {
        true
    }

    fn tunnel(&self) -> Option<Box<dyn Tunnel>> {
        let shared = &self.endpoint.shared;
        let tunnel = QuicTunnel::attach(&shared.tunnels, &shared.registry)?;
        Some(Box::new(tunnel))
    }
}
