//! Authentication: from what a connection showed to an identity.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::identity::Identity;
use crate::kube::status::Status;

/// What is known of the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// From a client certificate that the cluster's CA signed.
    pub certified: Option<Identity>,
    /// Where it is; `None` inside the process.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// A caller inside the process.
    pub fn local(identity: Identity) -> Self {
        Self { certified: Some(identity), address: None }
    }

    /// Whether what is sent to it crosses no wire.
    pub fn is_near(&self) -> bool {
        self.address.is_none_or(|address| address.ip().is_loopback())
    }
}

/// Who sends a request. Credentials that are shown but not known are refused, not ignored.
pub fn authenticate(peer: &Peer, headers: &HeaderMap) -> Result<Identity, Status> {
    if let Some(identity) = &peer.certified {
        return Ok(identity.clone());
    }
    if headers.contains_key(AUTHORIZATION) {
        return Err(unauthorized());
    }
    Ok(Identity::anonymous())
}

/// Reads the user and its groups from a certificate: common name and organizations of the subject.
pub fn identity_of(certificate_der: &[u8]) -> Option<Identity> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate_der).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
    Some(Identity::new(user, &groups))
}

/// 401.
pub fn unauthorized() -> Status {
    Status::new(401, "Unauthorized", "Unauthorized")
}
