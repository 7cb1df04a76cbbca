//! The real fabric: one UDP port, QUIC with mutual TLS, shared with HTTP/3 and the join door by ALPN.
//!
//! Rooms: `endpoint` the port and what it is allowed; `accept` what comes in, from the first packet to the protocol it
//! asked for; `fabric` and `channel` connections between nodes; `socket` the UDP socket, which drops what cannot be
//! QUIC; `admit` who may have a handshake under way; `transport` windows and timers; `tunnels`
//! peers whose packets other nodes carry; `counters` what was shed.
//!
//! A packet from a stranger costs at most: nothing where it is no QUIC; a retry without state where many handshakes are
//! unfinished; else one of [`Limits::handshakes`] slots for [`HANDSHAKE_TIMEOUT`], of which one address has only a part
//! once half of them are taken. A connection's memory is bound by the windows of `transport`, and grows to them only
//! while its data is not read. 0-RTT and session resumption are off: early data can be replayed, and a resumed session
//! would skip the check of a certificate that has been revoked meanwhile.

mod accept;
mod admit;
mod channel;
mod counters;
mod endpoint;
mod fabric;
mod socket;
mod transport;
mod tunnels;

#[cfg(test)]
pub mod tests;

use std::time::Duration;

use rustls::pki_types::CertificateDer;

pub use channel::QuicChannel;
pub use counters::{Counters, Event};
pub use endpoint::{BindError, Endpoint, Limits};
pub use fabric::QuicFabric;
pub(super) use transport::client_of;
pub use transport::{PEER_WINDOW, STRANGER_WINDOW};

use super::identity::LiveIdentity;
use crate::model::NodeId;

/// ALPN of the join exchange.
pub const ALPN_JOIN: &[u8] = b"shoal-join/1";
/// ALPN of HTTP/3 (RFC 9114).
pub const ALPN_HTTP3: &[u8] = b"h3";
/// A DNS name that the certificate of every node has, whatever the node is called: asked for where any node will do.
pub const ANY_NODE: &str = "kubernetes.default.svc";

/// How long a handshake may take, on both sides.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a dial may take until the peer has let this node in.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Codes that connections are closed with: QUIC application errors of our own protocols.
pub mod code {
    use quinn::VarInt;

    /// See [`crate::mesh::fabric::Close::Idle`].
    pub const IDLE: VarInt = VarInt::from_u32(1);
    /// See [`crate::mesh::fabric::Close::Stopping`].
    pub const STOPPING: VarInt = VarInt::from_u32(2);
    /// See [`crate::mesh::fabric::Close::Refused`].
    pub const REFUSED: VarInt = VarInt::from_u32(3);
    /// The certificate is no node's, or there is none.
    pub const UNTRUSTED: VarInt = VarInt::from_u32(4);
    /// A bound is reached; another attempt later may do.
    pub const BUSY: VarInt = VarInt::from_u32(5);
    /// What came is not the protocol.
    pub const PROTOCOL: VarInt = VarInt::from_u32(6);
    /// The exchange is over.
    pub const DONE: VarInt = VarInt::from_u32(0);
    /// HTTP/3's `H3_EXCESSIVE_LOAD` (RFC 9114, 8.1).
    pub const HTTP3_BUSY: VarInt = VarInt::from_u32(0x107);
}

/// Why credentials cannot be used; the text is for the log.
pub type CredentialsError = Box<dyn std::error::Error + Send + Sync>;

/// Who this node is and whom it believes. What it gives may change over time; see [`Endpoint::renew`].
pub trait Credentials: Send + Sync + 'static {
    /// For accepting: shows this node's certificate, asks for the client's and takes connections without one, because
    /// a client of the API or a joining node has none. `alpn` in order of preference.
    fn server(&self, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, CredentialsError>;

    /// For dialling: shows this node's certificate, believes servers whose certificate the cluster's authority has
    /// signed and that has the name that is dialled: the node's, or [`ANY_NODE`].
    fn client(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, CredentialsError>;

    /// Whose certificate it is; the reason where it is no node's, or no longer a member's. TLS has checked the chain
    /// and the time already, at the handshake.
    fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<NodeId, String>;
}

impl Credentials for LiveIdentity {
    fn server(&self, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, CredentialsError> {
        Ok(self.server_config(alpn)?)
    }

    fn client(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, CredentialsError> {
        Ok(self.client_config(alpn)?)
    }

    fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<NodeId, String> {
        self.peer_of(chain).map(|peer| peer.node).map_err(|refused| refused.to_string())
    }
}
