//! Who this node is: its certificate, the authorities it trusts, whom it refuses, and how a stranger becomes a node.
//!
//! `keep` holds an identity in its directory (founded, adopted, loaded) over `stored` and `files`; `issue` signs,
//! `inspect` reads certificates back, `bundle` is the trusted authorities, `lifetime` when a certificate is renewed and
//! `renewal` doing so; `live` is the identity at run time, replaceable, whose handshakes `verify` decides; `revocation`
//! who is refused; `token` and `pinned` let a stranger join; `kubeconfig` writes access for clients.

mod bundle;
mod files;
mod inspect;
mod issue;
mod keep;
mod kubeconfig;
mod lifetime;
mod live;
mod pinned;
mod renewal;
mod revocation;
mod stored;
#[cfg(test)]
mod tests;
pub mod token;
mod verify;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::plan::authority::Fingerprint;
pub use bundle::{Bundle, BundleError, Trusted};
pub use files::write_private;
pub use inspect::{Certificate, admin_of, certificate_of, first_certificate};
pub use issue::{Authority, SignError, client_request, is_node_name, request};
pub use keep::{Adoption, Held, Identity, Keys};
pub use kubeconfig::CONTEXT;
pub use lifetime::{Lifetimes, renewal_due};
pub use live::{LiveIdentity, PeerName, Refused, provider};
pub use pinned::{PinError, pinned_client_config};
pub use renewal::{OwnAuthority, Renewal, Signer};
pub use revocation::{MAX_REVOCATIONS, RevocationError, Revocations};
pub use token::{JoinToken, TokenRecord};

const DAY: Duration = Duration::from_hours(24);

/// How long the cluster's authority is good for.
pub const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
/// Certificates start this much in the past, for others whose clock is behind. When one was really made is told by
/// [`Certificate::issued`].
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);
/// What the user name of every node begins with (Kubernetes' node authorizer).
pub const NODE_PREFIX: &str = "system:node:";
/// The group of every node.
pub const NODES_GROUP: &str = "system:nodes";
/// The administrator's user name.
pub const ADMIN: &str = "kubernetes-admin";
/// The group that may do everything.
pub const ADMINS_GROUP: &str = "system:masters";

/// Why the node has no identity. Nothing that was there before has been changed, unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Other users could read or change a private file or directory.
    #[error("{} is open to other users (mode {mode:04o}); keys must be private: run `chmod {wanted:04o} {}`, and if anybody else may have read it, remove it and make the cluster's keys anew", path.display(), path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have.
        wanted: u32,
    },
    /// A private file belongs to somebody else.
    #[error("{} belongs to user {owner}, not to user {user} that runs this process", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
    /// The authority cannot be used. It is never made anew by itself, because every client trusts it by its content.
    #[error("the cluster's authority {} is damaged: {reason}; restore it from a backup, or remove {} to start with new keys (every client then needs the new admin.kubeconfig)", path.display(), directory.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What a joined node got from its cluster cannot be used; only joining again helps.
    #[error("{} cannot be used: {reason}; remove {} and join again with a new token", path.display(), directory.display())]
    Joined {
        /// The file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The directory holds an identity of the other kind: it was founded where it should join, or the reverse.
    #[error("{} holds the identity of a node that {there}; remove it to use the directory otherwise", directory.display())]
    Taken {
        /// The directory.
        directory: PathBuf,
        /// What it did, e.g. `has joined a cluster`.
        there: &'static str,
    },
    /// A certificate that was handed over will not do. The present one stays.
    #[error("the certificate cannot be used: {0}")]
    Credential(String),
    /// Trusted authorities that were handed over will not do. The present ones stay.
    #[error("the cluster's authorities cannot be used")]
    Bundle(#[from] BundleError),
    /// Only a node that has the authority's key can do this.
    #[error("this node does not have the authority's key")]
    NoAuthority,
    /// There is no successor of the authority to switch to.
    #[error("there is no new authority to switch to")]
    NoSuccessor,
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// The TLS library refused the certificates.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The client verifier could not be built.
    #[error("cannot set up the check of client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What a node's certificate must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Name of the node.
    pub node: String,
    /// Further DNS names, beside those of [`Subject::dns_names`].
    pub names: Vec<String>,
    /// Addresses of the node and the service address of the API.
    pub addresses: Vec<IpAddr>,
    /// Domain of the cluster, e.g. `cluster.local`.
    pub cluster_domain: String,
}

impl Subject {
    /// Every DNS name of the certificate, those that Kubernetes clients expect included.
    pub fn dns_names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .into_iter()
            .map(String::from)
            .collect();
        names.insert(format!("kubernetes.default.svc.{}", self.cluster_domain));
        names.insert(self.node.clone());
        names.extend(self.names.iter().cloned());
        names
    }

    /// Every address of the certificate, loopback included.
    pub fn ip_addresses(&self) -> BTreeSet<IpAddr> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.addresses.iter().copied().filter(|address| !address.is_unspecified()).chain(loopback).collect()
    }

    /// Its user name: `system:node:` and its name.
    pub fn user(&self) -> String {
        format!("{NODE_PREFIX}{}", self.node)
    }
}

/// What a node without a certificate, or with one that ends, asks for. Its key never leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRequest {
    /// Its name.
    pub name: String,
    /// Further DNS names, see [`Subject::names`].
    pub names: Vec<String>,
    /// Its addresses, see [`Subject::addresses`].
    pub addresses: Vec<IpAddr>,
    /// The signing request (PKCS #10, PEM) of [`request`].
    pub csr_pem: String,
}

impl NodeRequest {
    /// What `subject` asks for with `csr_pem`.
    pub fn new(subject: &Subject, csr_pem: String) -> Self {
        let Subject { node, names, addresses, .. } = subject.clone();
        Self { name: node, names, addresses, csr_pem }
    }

    /// The subject that the request claims; whoever signs decides whether it may have it.
    pub fn subject(&self, cluster_domain: &str) -> Subject {
        Subject {
            node: self.name.clone(),
            names: self.names.clone(),
            addresses: self.addresses.clone(),
            cluster_domain: cluster_domain.to_owned(),
        }
    }
}

/// A certificate with its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The certificate; for a node also that of the authority behind it.
    pub certificate_pem: String,
    /// The private key (PKCS #8).
    pub key_pem: String,
}
