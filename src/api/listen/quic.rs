//! HTTP/3: requests of QUIC connections, to the same service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::Stream;
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::{BidiStream, Connection, RecvStream};
use http::Request;
use http_body_util::BodyExt;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls;
use super::{DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_HEAD_BYTES, MAX_STREAMS};
use crate::api::authn::{Peer, identity_of};
use crate::api::body::{self, Body};
use crate::api::service::Service;

/// How long a quiet connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a quiet connection is asked whether it lives, so that watches stay.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Binds UDP at `address`. The outer error is about certificates, the inner one about the socket.
pub fn endpoint(address: SocketAddr, mut config: rustls::ServerConfig) -> Result<io::Result<Endpoint>, tls::Error> {
    config.max_early_data_size = 0; // what arrives early can be replayed, and writes must not be
    let crypto = QuicServerConfig::try_from(config).map_err(|_| tls::Error)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS));
    transport.keep_alive_interval(Some(PING_EVERY));
    transport.max_idle_timeout(IDLE_TIMEOUT.try_into().ok());
    server.transport_config(Arc::new(transport));
    let socket = std::net::UdpSocket::bind(address);
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(socket.and_then(|socket| Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)))
}

/// Serves an endpoint until `stop`.
pub async fn serve(
    endpoint: Endpoint,
    service: Arc<Service>,
    stop: CancellationToken,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
) {
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tasks.spawn(async move {
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming).await;
            if let Ok(Ok(connection)) = handshake {
                self::connection(connection, service, stop).await;
            }
            drop(permit);
        });
    }
    endpoint.close(VarInt::from_u32(0x100), b"");
    endpoint.wait_idle().await;
}

/// Serves one connection; its requests live no longer than it does.
pub async fn connection(quic: quinn::Connection, service: Arc<Service>, stop: CancellationToken) {
    let peer = Arc::new(peer(&quic));
    let mut builder = h3::server::builder();
    builder.max_field_section_size(u64::from(MAX_HEAD_BYTES));
    let Ok(mut connection) = builder.build::<_, Bytes>(Connection::new(quic)).await else { return };
    let requests = TaskTracker::new();
    loop {
        let resolver = tokio::select! {
            () = stop.cancelled() => break,
            accepted = connection.accept() => match accepted {
                Ok(Some(resolver)) => resolver,
                Ok(None) | Err(_) => break,
            },
        };
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        requests.spawn(async move {
            if let Err(error) = exchange(resolver, &service, &peer).await {
                tracing::debug!(%error, "an HTTP/3 exchange ended early");
            }
        });
    }
    requests.close();
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, requests.wait()).await;
}

fn peer(quic: &quinn::Connection) -> Peer {
    let chain = quic.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certified = chain.and_then(|chain| identity_of(chain.first()?));
    Peer { certified, address: Some(quic.remote_address()) }
}

async fn exchange(
    resolver: RequestResolver<Connection, Bytes>,
    service: &Service,
    peer: &Peer,
) -> Result<(), h3::error::StreamError> {
    let (head, stream): (Request<()>, RequestStream<BidiStream<Bytes>, Bytes>) = resolver.resolve_request().await?;
    let (mut send, receive) = stream.split();
    let request = head.map(|()| incoming(receive));
    let (parts, mut body) = service.call(request, peer).await.into_parts();
    send.send_response(http::Response::from_parts(parts, ())).await?;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { break };
        if let Ok(data) = frame.into_data() {
            send.send_data(data).await?;
        }
    }
    send.finish().await
}

fn incoming(receive: RequestStream<RecvStream, Bytes>) -> Body {
    body::stream(chunks(receive))
}

fn chunks(receive: RequestStream<RecvStream, Bytes>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::try_unfold(receive, |mut receive| async move {
        match receive.recv_data().await {
            Ok(Some(mut data)) => Ok(Some((data.copy_to_bytes(data.remaining()), receive))),
            Ok(None) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    })
}
