//! Probes and hooks over the network: a trait, its real implementation and its fake.
//!
//! `net` really asks (HTTP, HTTPS without verification, TCP); `hollow` answers what it was told to.

pub mod hollow;
pub mod net;

use std::time::Duration;

use async_trait::async_trait;

pub use hollow::HollowProber;
pub use net::NetProber;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `httpGet`: 200 to 399 is a success.
    Http {
        /// `HTTPS` rather than `HTTP`; certificates are not verified.
        tls: bool,
        /// Host or address.
        host: String,
        /// Port.
        port: u16,
        /// Path and query.
        path: String,
        /// Header lines.
        headers: Vec<(String, String)>,
    },
    /// `tcpSocket`: a connection is a success.
    Tcp {
        /// Host or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Asks.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Asks once; `Err` says for people why it failed.
    async fn probe(&self, target: &Target, timeout: Duration) -> Result<(), String>;
}
