//! This node's certificates: the cluster's authority and the leaves it signs, kept in a private directory.
//!
//! `files` keeps them on disk, `issue` signs, `inspect` reads them back and says whether they will do, `tls` turns
//! them into rustls configurations, `kubeconfig` writes them for clients.

mod files;
mod inspect;
mod issue;
mod kubeconfig;
mod tls;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::Timestamp;

pub use files::write_private;

const DAY: Duration = Duration::from_hours(24);

/// How long the cluster's authority is good for.
pub const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
/// How long a leaf certificate is good for.
pub const LEAF_LIFETIME: Duration = DAY.saturating_mul(365);
/// A leaf with less than this left is made anew.
pub const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// Certificates start this much in the past, for clients whose clock is behind.
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);

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

/// What the server's certificate must say.
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
    /// Every DNS name of the server's certificate, those that Kubernetes clients expect included.
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

    /// Every address of the server's certificate, loopback included.
    pub fn ip_addresses(&self) -> BTreeSet<IpAddr> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.addresses.iter().copied().filter(|address| !address.is_unspecified()).chain(loopback).collect()
    }
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key (PKCS #8).
    pub key_pem: String,
}

/// Who this node is: the authority that it trusts and the certificates that it shows.
#[derive(Clone)]
pub struct Identity {
    directory: PathBuf,
    authority: Credential,
    server: Credential,
    admin: Credential,
    node: Credential,
}

impl Identity {
    /// Reads the certificates in `dir` (made where missing, mode 0700), making those that are missing, about to end or
    /// no longer say what `subject` says.
    ///
    /// # Errors
    /// Where files are readable by others, the authority is damaged or the file system refuses.
    pub fn load_or_create(dir: &Path, subject: &Subject, now: Timestamp) -> Result<Self, Error> {
        files::private_dir(dir)?;
        let authority = load_authority(dir, now)?;
        let leaf = |name: &str, want: issue::Leaf| load_leaf(dir, name, &want, &authority, now);
        Ok(Self {
            directory: dir.to_path_buf(),
            server: leaf("server", issue::Leaf::server(subject))?,
            admin: leaf("admin", issue::Leaf::client("kubernetes-admin", "system:masters"))?,
            node: leaf("node", issue::Leaf::client(&format!("system:node:{}", subject.node), "system:nodes"))?,
            authority,
        })
    }

    /// The directory that the certificates are in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The authority's certificate: what clients must trust.
    pub fn authority_pem(&self) -> &str {
        &self.authority.certificate_pem
    }

    /// What the API server shows.
    pub fn server(&self) -> &Credential {
        &self.server
    }

    /// The administrator's (`kubernetes-admin` of `system:masters`).
    pub fn admin(&self) -> &Credential {
        &self.admin
    }

    /// The node's own as a client (`system:node:<name>` of `system:nodes`).
    pub fn node(&self) -> &Credential {
        &self.node
    }

    /// A certificate for a client of the cluster, signed by its authority.
    ///
    /// # Errors
    /// Where signing fails.
    pub fn issue_client(&self, user: &str, group: &str, now: Timestamp) -> Result<Credential, Error> {
        Ok(issue::leaf(&issue::Leaf::client(user, group), &self.authority, now)?)
    }
}

fn load_authority(dir: &Path, now: Timestamp) -> Result<Credential, Error> {
    let damaged =
        |file: &str, reason: String| Error::Authority { path: dir.join(file), directory: dir.to_path_buf(), reason };
    match (files::read(&dir.join("ca.crt"))?, files::read(&dir.join("ca.key"))?) {
        (None, None) => {
            let made = issue::authority(now)?;
            store(dir, "ca", &made)?;
            Ok(made)
        }
        (Some(certificate_pem), Some(key_pem)) => {
            let found = Credential { certificate_pem, key_pem };
            inspect::authority(&found, now).map_err(|reason| damaged("ca.crt", reason))?;
            Ok(found)
        }
        (None, Some(key_pem)) if files::is_first_start(dir)? => {
            // The process ended between the two writes of a first start: nobody has seen this key yet.
            let made = issue::authority_with(&key_pem, now).map_err(|error| damaged("ca.key", error.to_string()))?;
            store(dir, "ca", &made)?;
            Ok(made)
        }
        (None, Some(_)) => Err(damaged("ca.crt", "it is missing".into())),
        (Some(_), None) => Err(damaged("ca.key", "it is missing".into())),
    }
}

fn load_leaf(
    dir: &Path,
    name: &str,
    want: &issue::Leaf,
    authority: &Credential,
    now: Timestamp,
) -> Result<Credential, Error> {
    let certificate = files::read(&dir.join(format!("{name}.crt")))?;
    let key = files::read(&dir.join(format!("{name}.key")))?;
    if let (Some(certificate_pem), Some(key_pem)) = (certificate, key) {
        let found = Credential { certificate_pem, key_pem };
        match inspect::leaf(&found, want, authority, now) {
            Ok(()) => return Ok(found),
            Err(reason) => tracing::info!(certificate = name, reason, "certificate is made anew"),
        }
    }
    let made = issue::leaf(want, authority, now)?;
    store(dir, name, &made)?;
    Ok(made)
}

/// The key first: a certificate without its key is never on disk.
fn store(dir: &Path, name: &str, credential: &Credential) -> Result<(), Error> {
    files::write_private(&dir.join(format!("{name}.key")), credential.key_pem.as_bytes())?;
    files::write_private(&dir.join(format!("{name}.crt")), credential.certificate_pem.as_bytes())
}

#[cfg(test)]
mod tests;
