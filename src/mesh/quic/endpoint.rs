//! The port: one UDP socket for every protocol and both roles.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use quinn::{AsyncUdpSocket, Runtime as _, ServerConfig, TokioRuntime};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::admit::Unfinished;
use super::channel::{QuicChannel, Registry};
use super::counters::Counters;
use super::fabric::QuicFabric;
use super::socket::{self, Socket};
use super::tunnels::Tunnels;
use super::{Credentials, CredentialsError, accept, code, transport};
use crate::mesh::join::{JoinDoor, Pace};

/// First packets that wait until they are looked at, and bytes that may come after them until then.
const MAX_INCOMING: usize = 1_024;
const INCOMING_BYTES: u64 = 64 << 10;
const ALL_INCOMING_BYTES: u64 = 8 << 20;

/// What a port takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes under way. A quarter of them may be of addresses that have proved nothing; once half are taken, an
    /// address gets at most an eighth.
    pub handshakes: usize,
    /// Connections with nodes, those that were dialled included.
    pub peers: usize,
    /// Connections from nodes that wait for [`super::QuicFabric`] to accept them.
    pub waiting_peers: usize,
    /// Connections for HTTP/3 that wait to be taken.
    pub waiting_http3: usize,
    /// Join exchanges.
    pub joins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshakes: 512, peers: 16_384, waiting_peers: 256, waiting_http3: 64, joins: 32 }
    }
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address} (UDP)")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("the node's certificates cannot be used for QUIC")]
    Credentials(#[source] CredentialsError),
}

/// A bound port. Cheap to clone; what comes in waits until [`Endpoint::run`].
#[derive(Clone)]
pub struct Endpoint {
    pub(super) shared: Arc<Shared>,
}

/// What all clones see.
pub(super) struct Shared {
    pub quinn: quinn::Endpoint,
    pub credentials: Arc<dyn Credentials>,
    pub counters: Arc<Counters>,
    pub tunnels: Arc<Tunnels>,
    pub dialling: RwLock<quinn::ClientConfig>,
    pub unfinished: Mutex<Unfinished>,
    pub peers: Arc<Semaphore>,
    pub registry: Arc<Registry>,
    pub accepted: mpsc::Sender<Arc<QuicChannel>>,
    pub to_accept: tokio::sync::Mutex<mpsc::Receiver<Arc<QuicChannel>>>,
    pub http3: mpsc::Sender<quinn::Connection>,
    http3_taker: Mutex<Option<mpsc::Receiver<quinn::Connection>>>,
    pub joins: Semaphore,
    pub join_pace: Mutex<Pace>,
    pub ended: CancellationToken,
    /// Kept for its key, so that a proof of address outlives a change of certificates.
    accepting: ServerConfig,
}

impl Endpoint {
    /// Binds UDP at `address` (port 0 for any) for both roles. Call inside the runtime.
    pub fn bind(address: SocketAddr, credentials: Arc<dyn Credentials>, limits: Limits) -> Result<Self, BindError> {
        let bound = socket::bind(address).and_then(|bound| TokioRuntime.wrap_udp_socket(bound));
        Self::over(bound.map_err(|source| BindError::Socket { address, source })?, credentials, limits)
    }

    /// The same over a socket that somebody else has made.
    pub(in crate::mesh) fn over(
        socket: Arc<dyn AsyncUdpSocket>,
        credentials: Arc<dyn Credentials>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = socket.local_addr().map_err(|source| BindError::Socket { address: nowhere, source })?;
        let counters = Arc::new(Counters::default());
        let tunnels = Arc::new(Tunnels::new(counters.clone()));
        let accepting = accepting(&*credentials).map_err(BindError::Credentials)?;
        let dialling = transport::client_config(&*credentials).map_err(BindError::Credentials)?;
        let socket = Socket::over(socket, counters.clone(), tunnels.clone());
        let (config, server) = (transport::endpoint(), Some(accepting.clone()));
        let quinn = quinn::Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime))
            .map_err(|source| BindError::Socket { address, source })?;
        let (accepted, to_accept) = mpsc::channel(limits.waiting_peers.max(1));
        let (http3, http3_taker) = mpsc::channel(limits.waiting_http3.max(1));
        let shared = Shared {
            quinn,
            credentials,
            counters,
            tunnels,
            dialling: RwLock::new(dialling),
            unfinished: Mutex::new(Unfinished::new(limits.handshakes)),
            peers: Arc::new(Semaphore::new(limits.peers)),
            registry: Arc::default(),
            accepted,
            to_accept: tokio::sync::Mutex::new(to_accept),
            http3,
            http3_taker: Mutex::new(Some(http3_taker)),
            joins: Semaphore::new(limits.joins),
            join_pace: Mutex::default(),
            ended: CancellationToken::new(),
            accepting,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where it is bound.
    pub fn local(&self) -> SocketAddr {
        self.shared.local()
    }

    /// What came in and what was turned away.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Connections between nodes over this port.
    pub fn fabric(&self) -> Arc<QuicFabric> {
        Arc::new(QuicFabric::new(self.clone()))
    }

    /// Connections that asked for HTTP/3, their handshakes done. `None` the second time. Where nobody takes them they
    /// are turned away.
    pub fn http3(&self) -> Option<mpsc::Receiver<quinn::Connection>> {
        self.shared.http3_taker.lock().take()
    }

    /// Takes what comes in; joins are asked of `door`. Returns once the port is closed or has failed. Dropping it ends
    /// the handshakes and join exchanges under way, and may be followed by another run.
    pub async fn run(&self, door: Arc<dyn JoinDoor>) {
        accept::run(&self.shared, door).await;
    }

    /// Reads the credentials anew for connections from now on; on an error the old ones stay in use. Not needed where
    /// the configurations that [`Credentials`] gives follow their changes by themselves.
    pub fn renew(&self) -> Result<(), CredentialsError> {
        let mut server = self.shared.accepting.clone();
        server.crypto = transport::server_crypto(&*self.shared.credentials)?;
        let client = transport::client_config(&*self.shared.credentials)?;
        self.shared.quinn.set_server_config(Some(server));
        *self.shared.dialling.write() = client;
        Ok(())
    }

    /// Moves to another socket, as where the node's address changes: connections that this node dialled migrate, those
    /// that it accepted are lost where the peer cannot follow.
    pub fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let socket = Socket::over(socket, self.shared.counters.clone(), self.shared.tunnels.clone());
        self.shared.quinn.rebind_abstract(socket)
    }

    /// Closes every connection, tells the peers, and takes no more. Waits until they know, at most as long as a lost
    /// packet needs to be sent again a few times.
    pub async fn close(&self) {
        self.shared.ended.cancel();
        self.shared.quinn.close(code::STOPPING, b"the node stops");
        self.shared.quinn.wait_idle().await;
    }
}

impl Shared {
    pub fn local(&self) -> SocketAddr {
        // Fails only for a socket that was never bound.
        self.quinn.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

fn accepting(credentials: &dyn Credentials) -> Result<ServerConfig, CredentialsError> {
    let mut server = ServerConfig::with_crypto(transport::server_crypto(credentials)?);
    server
        .transport_config(Arc::new(transport::accepting()))
        .migration(true)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    Ok(server)
}
