//! HTTP/3: requests of QUIC connections that another part has accepted, to the same service.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::Stream;
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::{BidiStream, Connection, RecvStream};
use http::Request;
use http_body_util::BodyExt;
use quinn::VarInt;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DRAIN_TIMEOUT, MAX_HEAD_BYTES};
use crate::api::authn::{Peer, identity_of};
use crate::api::body::{self, Body};
use crate::api::service::Service;

/// HTTP/3's codes for an end in order and for more than can be served (RFC 9114, 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x107);

/// Serves the connections that come out of `incoming` until `stop`.
pub async fn serve(
    mut incoming: mpsc::Receiver<quinn::Connection>,
    service: Arc<Service>,
    stop: CancellationToken,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
) {
    loop {
        let quic = tokio::select! {
            () = stop.cancelled() => break,
            quic = incoming.recv() => match quic {
                Some(quic) => quic,
                None => break,
            },
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            quic.close(EXCESSIVE_LOAD, b"");
            continue;
        };
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tasks.spawn(async move {
            connection(quic.clone(), service, stop).await;
            quic.close(NO_ERROR, b"");
            drop(permit);
        });
    }
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
