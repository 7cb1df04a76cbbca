//! Windows, timers and TLS of connections.
//!
//! What a connection is for is known only after its handshake, so all that are accepted start alike: windows for a
//! stranger, few streams, datagrams allowed. A peer's windows are opened once its certificate has been read; more
//! streams are allowed to HTTP/3, and to whoever turns out to open them.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::{ALPN_HTTP3, ALPN_JOIN, Credentials, CredentialsError};
use crate::mesh::version::spoken;

/// Streams that the other end may have open at a time.
const MAX_STREAMS: u32 = 250;
/// The same at first: each stream that may be opened takes 80 bytes at this end, and an idle peer has four.
pub const FIRST_STREAMS: u32 = 16;
/// Number of the stream with which the other end has shown that it needs more than the first ones.
const MANY_STREAMS: u64 = 8;
/// Streams in one direction: HTTP/3 has three and may have one that means nothing, the mesh one.
const MAX_ONE_WAY_STREAMS: u32 = 4;
/// Bytes of one stream that may wait to be read. 4 MiB carries 4 Gbit/s over a round trip of 8 ms.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes that may wait to be read on all streams of a connection whose other end is no node; also what this side keeps
/// until it is acknowledged. 2 MiB carries 160 Mbit/s over 100 ms.
pub const STRANGER_WINDOW: u32 = 2 << 20;
/// The same for a connection between nodes, so that two bulk streams at their bound leave room for the others.
pub const PEER_WINDOW: u32 = 16 << 20;
/// Bytes of datagrams that may wait, each way; the oldest is dropped first.
const DATAGRAM_WINDOW: usize = 128 << 10;
/// Largest UDP payload asked for: fits a jumbo frame of 9,000 bytes. Reached only where probes come through, so that a
/// network with frames of 1,500 bytes is not hurt.
const MAX_PAYLOAD: u16 = 8_192;
/// The search for the largest payload ends at such a step. It finds 1,417 bytes on common networks (frames of 1,500
/// bytes, also inside WireGuard) and 8,192 where there are jumbo frames, after six probes.
const PAYLOAD_STEP: u16 = 200;
/// Most packets handed to the system at a time: together they must fit one datagram's length (65,507 bytes over IPv4).
/// Beyond that the system refuses all of them, and QUIC takes them for lost on the way.
pub const MAX_SEGMENTS: usize = 65_507 / MAX_PAYLOAD as usize;
/// Round trip assumed before one is known: a third of it decides when a first packet is sent again (RFC 9002, 6.2).
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How long a quiet connection that this node accepted is kept; the shorter of both ends counts.
const ACCEPTED_IDLE: Duration = Duration::from_mins(1);
/// How often a quiet connection that this node accepted is asked whether it lives, so that watches over HTTP/3 stay.
const ACCEPTED_PING: Duration = Duration::from_secs(20);
/// How long a peer that was dialled may be silent: longer than a process that was stopped for ten seconds.
const DIALLED_IDLE: Duration = Duration::from_secs(15);
/// How often the dialling side asks: often enough for the tables of address translators (30 s is common).
const DIALLED_PING: Duration = Duration::from_secs(5);

/// For what comes in.
pub fn accepting() -> TransportConfig {
    let mut transport = windows(STRANGER_WINDOW);
    transport.keep_alive_interval(Some(ACCEPTED_PING));
    transport.max_idle_timeout(ACCEPTED_IDLE.try_into().ok());
    transport
}

/// For connections to nodes.
pub fn dialling() -> TransportConfig {
    let mut transport = windows(PEER_WINDOW);
    transport.keep_alive_interval(Some(DIALLED_PING));
    transport.max_idle_timeout(DIALLED_IDLE.try_into().ok());
    transport
}

fn windows(window: u32) -> TransportConfig {
    let mut probing = MtuDiscoveryConfig::default();
    probing.upper_bound(MAX_PAYLOAD).minimum_change(PAYLOAD_STEP);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(FIRST_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_ONE_WAY_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .datagram_receive_buffer_size(Some(DATAGRAM_WINDOW))
        .datagram_send_buffer_size(DATAGRAM_WINDOW)
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(probing));
    transport
}

/// Opens the windows of a connection that turned out to be a node's.
pub fn promote(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW));
    connection.set_send_window(u64::from(PEER_WINDOW));
}

/// Lets the other end have more streams once it has opened the one with this number.
pub fn grow(connection: &quinn::Connection, opened: u64) {
    if opened == MANY_STREAMS {
        allow_many_streams(connection);
    }
}

/// Lets the other end have as many streams as any may have.
pub fn allow_many_streams(connection: &quinn::Connection) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(MAX_STREAMS));
}

/// For the whole port.
pub fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // Packets without the fixed bit are then never legal, and can be dropped unread.
    config.grease_quic_bit(false);
    // Fails only under 1,200 bytes.
    let _ = config.max_udp_payload_size(MAX_PAYLOAD);
    config
}

/// TLS for accepting, in QUIC's form.
pub fn server_crypto(credentials: &dyn Credentials) -> Result<Arc<QuicServerConfig>, CredentialsError> {
    let mesh = spoken().alpn();
    let mesh = mesh.iter().map(Vec::as_slice);
    let all: Vec<&[u8]> = mesh.chain([ALPN_JOIN, ALPN_HTTP3]).collect();
    let mut config = credentials.server(&all)?;
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(QuicServerConfig::try_from(config)?))
}

/// What to dial nodes with.
pub fn client_config(credentials: &dyn Credentials) -> Result<quinn::ClientConfig, CredentialsError> {
    let mesh = spoken().alpn();
    let config = credentials.client(&mesh.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    Ok(client_of(config, dialling())?)
}

/// A client of QUIC from one of TLS.
pub fn client_of(
    mut config: rustls::ClientConfig,
    transport: TransportConfig,
) -> Result<quinn::ClientConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?));
    client.transport_config(Arc::new(transport));
    Ok(client)
}
