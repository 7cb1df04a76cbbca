//! The exchange over QUIC: the side that asks and the side that answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadToEndError, TransportConfig, WriteError};

use crate::mesh::quic::{ANY_NODE, code};

/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 64 << 10;
/// Longest answer, in bytes.
pub const MAX_ANSWER: usize = 256 << 10;
/// How long a seed gives to one exchange, its decision included.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long either side waits for the other's goodbye.
const GOODBYE: Duration = Duration::from_millis(100);
/// QUIC's codes for TLS alerts begin here; the low byte is the alert (RFC 9001, 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// Decides who joins.
#[async_trait]
pub trait JoinDoor: Send + Sync + 'static {
    /// The answer to `request`, which is at most [`MAX_REQUEST`] bytes of anything. An answer over [`MAX_ANSWER`] is
    /// not sent. Dropped where the other side goes away or [`EXCHANGE_TIMEOUT`] is over.
    async fn join(&self, from: SocketAddr, request: Bytes) -> Bytes;
}

/// A door that gives everybody the same answer, e.g. an encoded [`super::JoinRefusal::NoQuorum`].
pub struct Shut(pub Bytes);

#[async_trait]
impl JoinDoor for Shut {
    async fn join(&self, _: SocketAddr, _: Bytes) -> Bytes {
        self.0.clone()
    }
}

/// Why an exchange was not answered; its connection is to be closed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The other side went away.
    #[error("the connection ended")]
    Lost(#[from] ConnectionError),
    /// The request is over [`MAX_REQUEST`], or was cut off.
    #[error("the request cannot be read")]
    Request(#[from] ReadToEndError),
    /// The door's answer is over [`MAX_ANSWER`]; whether it let the node in is the door's to know.
    #[error("the answer of {0} bytes is too long")]
    Answer(usize),
    /// The other side stopped reading.
    #[error("the answer cannot be sent")]
    Write(#[from] WriteError),
    /// Not within [`EXCHANGE_TIMEOUT`].
    #[error("it took too long")]
    Timeout,
}

/// Answers one exchange on `connection`.
pub async fn serve(connection: &Connection, door: &dyn JoinDoor) -> Result<(), ServeError> {
    let exchange = tokio::time::timeout(EXCHANGE_TIMEOUT, answer(connection, door));
    tokio::select! {
        done = exchange => done.unwrap_or(Err(ServeError::Timeout)),
        // The one that asked may leave as soon as it has read its answer.
        error = connection.closed() => match error {
            ConnectionError::ApplicationClosed(close) if close.error_code == code::DONE => Ok(()),
            error => Err(error.into()),
        },
    }
}

async fn answer(connection: &Connection, door: &dyn JoinDoor) -> Result<(), ServeError> {
    let (mut send, mut receive) = connection.accept_bi().await?;
    let request = receive.read_to_end(MAX_REQUEST).await?;
    let answer = door.join(connection.remote_address(), request.into()).await;
    if answer.len() > MAX_ANSWER {
        return Err(ServeError::Answer(answer.len()));
    }
    send.write_all(&answer).await?;
    // Fails only where it was ended before.
    let _ = send.finish();
    // It leaves once it has read; where it does not, the answer has arrived all the same.
    let _ = send.stopped().await;
    let _ = tokio::time::timeout(GOODBYE, connection.closed()).await;
    Ok(())
}

/// Why a node has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket could be opened, or the TLS configuration does not allow QUIC. Nothing was sent.
    #[error("cannot ask {at}")]
    Local {
        /// The seed.
        at: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Nobody answers there. Nothing was asked.
    #[error("no answer from {0}")]
    Unreachable(SocketAddr),
    /// Who answers there has another authority than the token's. Nothing was asked, the secret was not sent.
    #[error("{at} belongs to another cluster than the token: {reason}")]
    Foreign {
        /// The seed.
        at: SocketAddr,
        /// What TLS says.
        reason: String,
    },
    /// Who answers there does not take the request: no seed, too busy, or asked too often. Nothing has changed.
    #[error("{at} does not take the request: {reason}")]
    Refused {
        /// The seed.
        at: SocketAddr,
        /// What it says.
        reason: String,
    },
    /// The request was sent and not answered in time: the node may or may not be a member now.
    #[error("{0} took the request and has not answered in time")]
    Timeout(SocketAddr),
    /// The connection ended after the request was sent: the node may or may not be a member now.
    #[error("the connection to {at} ended before the answer: {reason}")]
    Lost {
        /// The seed.
        at: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// Asks the seed at `seed`, within `deadline`; gives the answer's bytes. `tls` decides whom to believe: it has the ALPN
/// [`crate::mesh::quic::ALPN_JOIN`], and a verifier that checks the cluster's authority by its fingerprint and the name
/// [`ANY_NODE`], or no name. Uses a socket of its own, which is closed when this returns.
pub async fn ask(
    seed: SocketAddr,
    tls: rustls::ClientConfig,
    request: Bytes,
    deadline: Duration,
) -> Result<Bytes, Error> {
    let local = |source| Error::Local { at: seed, source };
    let any = if seed.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = quinn::Endpoint::client((any, 0).into()).map_err(local)?;
    let config = client(tls).map_err(local)?;
    let ends = tokio::time::Instant::now() + deadline;
    let connecting = endpoint.connect_with(config, seed, ANY_NODE).map_err(|_| Error::Unreachable(seed))?;
    let connection = match tokio::time::timeout_at(ends, connecting).await {
        Err(_) => return Err(Error::Unreachable(seed)),
        Ok(connected) => connected.map_err(|error| not_connected(seed, &error))?,
    };
    let answer = match tokio::time::timeout_at(ends, exchange(seed, &connection, &request)).await {
        Err(_) => Err(Error::Timeout(seed)),
        Ok(answer) => answer,
    };
    connection.close(code::DONE, b"");
    let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
    answer
}

fn client(tls: rustls::ClientConfig) -> io::Result<quinn::ClientConfig> {
    let mut transport = TransportConfig::default();
    transport.initial_rtt(GOODBYE).max_idle_timeout(EXCHANGE_TIMEOUT.try_into().ok());
    transport.keep_alive_interval(Some(EXCHANGE_TIMEOUT / 4));
    crate::mesh::quic::client_of(tls, transport).map_err(io::Error::other)
}

async fn exchange(at: SocketAddr, connection: &Connection, request: &Bytes) -> Result<Bytes, Error> {
    let attempt = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        send.write_all(request).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        receive.read_to_end(MAX_ANSWER).await.map_err(|error| error.to_string())
    };
    match attempt.await {
        Ok(answer) => Ok(answer.into()),
        Err(reason) => Err(match connection.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) if close.error_code == code::BUSY => {
                Error::Refused { at, reason: "too many nodes ask to join; try again".into() }
            }
            // In TLS 1.3 the other side may refuse the handshake after this side's has ended.
            Some(ConnectionError::ConnectionClosed(close)) => Error::Refused { at, reason: close.to_string() },
            _ => Error::Lost { at, reason },
        }),
    }
}

fn not_connected(at: SocketAddr, error: &ConnectionError) -> Error {
    match error {
        // This side's own complaint about the other's certificate; others come as the other side's close.
        ConnectionError::TransportError(fault)
            if (CRYPTO_ERROR..CRYPTO_ERROR + 256).contains(&u64::from(fault.code)) =>
        {
            Error::Foreign { at, reason: fault.reason.clone() }
        }
        ConnectionError::TimedOut | ConnectionError::Reset | ConnectionError::LocallyClosed => Error::Unreachable(at),
        error => Error::Refused { at, reason: error.to_string() },
    }
}
