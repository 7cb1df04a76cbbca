//! Listeners: connections in, requests to the service. HTTP/1.1 and HTTP/2 over TLS on TCP; HTTP/3 over connections that
//! the mesh's port has taken, at the same number of UDP.
//!
//! Rooms: `quic` HTTP/3.

mod quic;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALT_SVC, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authn::{Peer, identity_of};
use super::body::Body;
use super::service::Service;

/// Protocols over TCP, in order of preference.
pub const TCP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head, and an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a quiet HTTP/2 connection is asked whether it lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Bound on a request's head, in bytes.
const MAX_HEAD_BYTES: u32 = 64 << 10;
/// Bound on requests at a time on one HTTP/2 connection; the mesh's port has its own for QUIC.
const MAX_STREAMS: u32 = 250;
/// How long open requests may take once the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before accepting again when the system has no room for a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Where to listen, and how much.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Address and port; port 0 for any.
    pub address: SocketAddr,
    /// Connections at a time, over all transports.
    pub connections: usize,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Bound sockets, not yet serving: what can fail has not failed.
pub struct Listeners {
    tcp: TcpListener,
    http3: Option<mpsc::Receiver<quinn::Connection>>,
    acceptor: TlsAcceptor,
    connections: Arc<Semaphore>,
    address: SocketAddr,
}

/// Binds TCP.
pub async fn bind(config: &ListenConfig, tls: rustls::ServerConfig) -> Result<Listeners, Error> {
    let failed = |source| Error::Bind { address: config.address, source };
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let tcp = TcpListener::bind(config.address).await.map_err(failed)?;
    let address = tcp.local_addr().map_err(failed)?;
    Ok(Listeners { tcp, http3: None, acceptor, connections: Arc::new(Semaphore::new(config.connections)), address })
}

impl Listeners {
    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTP/3 too, on the connections that come out of `connections`: their handshakes are done, their port of UDP
    /// has the number of [`Listeners::address`], which clients of TCP are told.
    #[must_use]
    pub fn with_http3(mut self, connections: mpsc::Receiver<quinn::Connection>) -> Self {
        self.http3 = Some(connections);
        self
    }

    /// Serves until `shutdown`, then lets open requests end for a while.
    pub async fn serve(mut self, service: Arc<Service>, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let face = Face {
            service: Arc::clone(&service),
            alt_svc: self.http3.as_ref().and_then(|_| alt_svc(self.address.port())),
        };
        if let Some(incoming) = self.http3.take() {
            let (service, stop, bound) = (Arc::clone(&service), shutdown.clone(), Arc::clone(&self.connections));
            tasks.spawn(quic::serve(incoming, service, stop, bound, tasks.clone()));
        }
        while let Some((stream, address)) = self.accept(&shutdown).await {
            let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else { continue };
            let (acceptor, face, stop) = (self.acceptor.clone(), face.clone(), shutdown.clone());
            tasks.spawn(async move {
                connection(stream, address, acceptor, face, stop).await;
                drop(permit);
            });
        }
        service.stop.cancel();
        service.sessions.close();
        tasks.close();
        let _ =
            tokio::time::timeout(DRAIN_TIMEOUT, async { tokio::join!(tasks.wait(), service.sessions.wait()) }).await;
    }

    async fn accept(&self, shutdown: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                accepted = self.tcp.accept() => match accepted {
                    Ok(accepted) => return Some(accepted),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        }
    }
}

/// Binds and serves.
pub async fn serve(
    config: &ListenConfig,
    tls: rustls::ServerConfig,
    service: Arc<Service>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    bind(config, tls).await?.serve(service, shutdown).await;
    Ok(())
}

#[derive(Clone)]
struct Face {
    service: Arc<Service>,
    alt_svc: Option<HeaderValue>,
}

impl Face {
    async fn answer(&self, request: Request<Body>, peer: &Peer) -> Response<Body> {
        let mut response = self.service.call(request, peer).await;
        if let Some(alt_svc) = &self.alt_svc {
            response.headers_mut().insert(ALT_SVC, alt_svc.clone());
        }
        response
    }
}

fn alt_svc(port: u16) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400")).ok()
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    face: Face,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%address, "handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certified = certificate.and_then(|certificate| identity_of(certificate));
    let peer = Arc::new(Peer { certified, address: Some(address) });
    let service = service_fn(move |request: Request<Incoming>| {
        let (face, peer) = (face.clone(), Arc::clone(&peer));
        async move {
            let request = request.map(|body| body.map_err(io::Error::other).boxed_unsync());
            Ok::<_, std::convert::Infallible>(face.answer(request, &peer).await)
        }
    });
    let builder = builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, error, "connection ended");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(4 * MAX_HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_send_buf_size(1 << 20)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
