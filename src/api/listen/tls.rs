//! The server's side of TLS: one configuration for each transport, which follow the node's identity.

use rustls::ServerConfig;

use crate::mesh::identity::{self, LiveIdentity};

/// Protocols over TCP, in order of preference.
pub const TCP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Protocols over QUIC.
pub const QUIC_PROTOCOLS: &[&[u8]] = &[b"h3"];

/// How listeners shake hands: they ask for a client certificate but take connections without one.
pub struct Tls {
    /// Over TCP.
    pub tcp: ServerConfig,
    /// Over QUIC; HTTP/3 is served on the same port of UDP where there is one.
    pub quic: Option<ServerConfig>,
}

impl Tls {
    /// As the node's identity has it at every handshake.
    ///
    /// # Errors
    /// Where the TLS library refuses.
    pub fn of(identity: &LiveIdentity, http3: bool) -> Result<Self, identity::Error> {
        let quic = if http3 { Some(identity.server_config(QUIC_PROTOCOLS)?) } else { None };
        Ok(Self { tcp: identity.server_config(TCP_PROTOCOLS)?, quic })
    }
}

/// The cipher suites lack what QUIC needs.
#[derive(Debug, thiserror::Error)]
#[error("the cipher suites do not allow QUIC")]
pub struct Error;
