//! The identity at run time: what is shown and who is believed can be replaced while connections are made; every
//! handshake asks anew.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::inspect::{self, Certificate};
use super::{Bundle, Credential, Error, Fingerprint, Identity, Revocations, renewal_due};
use crate::mesh::mutant::mutant;
use crate::model::{NodeId, Timestamp};
use crate::world::clock::Clock;

/// A peer as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    /// Its name.
    pub node: NodeId,
    /// When its certificate was made, by its signer's clock.
    pub issued: Timestamp,
    /// When its certificate ends.
    pub ends: Timestamp,
}

/// Why the other end is no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has shown no certificate.
    #[error("it has shown no certificate")]
    Nothing,
    /// Its certificate cannot be read.
    #[error("its certificate cannot be read: {0}")]
    Unreadable(String),
    /// It is a client, but no node.
    #[error("its certificate is not a node's")]
    NotANode,
    /// It has been removed from the cluster.
    #[error("{0} has been removed from the cluster")]
    Revoked(NodeId),
}

/// This node's identity at run time. Cheap to clone; clones see the same. Configurations that it has given follow
/// every change: the next handshake shows the new certificate and believes the new authorities. Connections that are
/// open stay; whoever holds them asks [`LiveIdentity::peer_of`] again after a change.
#[derive(Clone)]
pub struct LiveIdentity {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub name: NodeId,
    pub clock: Arc<dyn Clock>,
    pub provider: Arc<CryptoProvider>,
    state: RwLock<Arc<State>>,
    changes: watch::Sender<u64>,
}

/// What counts now; replaced as a whole.
#[derive(Clone)]
pub(super) struct State {
    /// With the authority behind it, so that a stranger can pin it.
    pub as_server: Arc<CertifiedKey>,
    /// Alone: whoever is dialled has the authority.
    pub as_client: Arc<CertifiedKey>,
    pub own: Certificate,
    pub bundle: Bundle,
    pub roots: Arc<RootCertStore>,
    pub clients: Arc<dyn ClientCertVerifier>,
    pub revocations: Arc<Revocations>,
}

impl fmt::Debug for LiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveIdentity").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// The algorithms of the mesh: those of `ring`, AES-128-GCM first: it is beyond breaking, and has ten rounds where
/// AES-256 has fourteen.
pub fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

impl LiveIdentity {
    /// Starts from what is on disk. `clock` judges certificates from now on.
    pub fn new(identity: &Identity, revocations: Revocations, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::of(identity.name(), identity.node(), identity.bundle().clone(), revocations, clock)
    }

    /// The same from values that are on no disk.
    pub fn of(
        name: &NodeId,
        credential: &Credential,
        bundle: Bundle,
        revocations: Revocations,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let (as_server, as_client, own) = keys(credential, &provider)?;
        let (roots, clients) = believed(&bundle, &provider)?;
        let state = State { as_server, as_client, own, bundle, roots, clients, revocations: Arc::new(revocations) };
        let state = RwLock::new(Arc::new(state));
        let changes = watch::Sender::new(0);
        let shared = Shared { name: name.clone(), clock, provider, state, changes };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// This node.
    pub fn name(&self) -> &NodeId {
        &self.shared.name
    }

    /// Shows another certificate from the next handshake on. Refused where it is not this node's or not of its key.
    pub fn renew(&self, credential: &Credential) -> Result<(), Error> {
        let (as_server, as_client, own) = keys(credential, &self.shared.provider)?;
        if own.node().as_ref() != Some(&self.shared.name) {
            return Err(Error::Credential(format!("it does not name {}", self.shared.name)));
        }
        self.shared.change(|state| State { as_server, as_client, own, ..state.clone() });
        Ok(())
    }

    /// Believes these authorities from the next handshake on.
    pub fn trust(&self, bundle: &Bundle) -> Result<(), Error> {
        let (roots, clients) = believed(bundle, &self.shared.provider)?;
        self.shared.change(|state| State { bundle: bundle.clone(), roots, clients, ..state.clone() });
        Ok(())
    }

    /// Refuses these nodes, and no others, from the next handshake on.
    pub fn revoke(&self, revocations: Revocations) {
        self.shared.change(|state| State { revocations: Arc::new(revocations), ..state.clone() });
    }

    /// Counts changes: wakes whoever holds connections to judge their peers again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The authorities that are believed.
    pub fn bundle(&self) -> Bundle {
        self.shared.state().bundle.clone()
    }

    /// The nodes that are refused.
    pub fn revocations(&self) -> Arc<Revocations> {
        self.shared.state().revocations.clone()
    }

    /// The certificate that is shown.
    pub fn certificate(&self) -> Certificate {
        self.shared.state().own.clone()
    }

    /// Who has signed the certificate that is shown; `None` where that authority is no longer believed.
    pub fn issuer(&self) -> Option<Fingerprint> {
        self.shared.state().issuer()
    }

    /// When the certificate is to be renewed (see [`renewal_due`]): at once where another authority signs by now.
    pub fn renewal_due(&self, fraction: f64, now: Timestamp, jitter: f64) -> Timestamp {
        let state = self.shared.state();
        if state.issuer() != Some(state.bundle.signing()) {
            return now;
        }
        renewal_due(state.own.not_before, state.own.not_after, fraction, now, jitter)
    }

    /// Who is at the other end, by the chain that a handshake under a configuration of this identity has verified;
    /// empty where it showed none. Asked again later, it tells whether the peer has been removed meanwhile.
    pub fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<PeerName, Refused> {
        self.shared.state().peer(chain.first().ok_or(Refused::Nothing)?)
    }
}

impl Shared {
    pub fn state(&self) -> Arc<State> {
        self.state.read().clone()
    }

    fn change(&self, to: impl FnOnce(&State) -> State) {
        let mut state = self.state.write();
        *state = Arc::new(to(&state));
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl State {
    fn issuer(&self) -> Option<Fingerprint> {
        self.bundle.issuer_of(self.as_client.cert.first()?)
    }

    /// The node that a certificate names, unless it is refused.
    pub fn peer(&self, der: &[u8]) -> Result<PeerName, Refused> {
        let certificate = inspect::certificate_of(der).map_err(Refused::Unreadable)?;
        let holder = certificate.holder().ok_or(Refused::NotANode)?;
        let peer = PeerName { node: holder, issued: certificate.issued, ends: certificate.not_after };
        if self.revocations.refuse_peer(&peer) && !mutant("ignore-revocation") {
            return Err(Refused::Revoked(peer.node));
        }
        certificate.node().map(|_| peer).ok_or(Refused::NotANode)
    }
}

type Keys = (Arc<CertifiedKey>, Arc<CertifiedKey>, Certificate);

fn keys(credential: &Credential, provider: &CryptoProvider) -> Result<Keys, Error> {
    let unreadable = |error: rustls_pki_types::pem::Error| Error::Credential(error.to_string());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(credential.certificate_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    let first = chain.first().cloned().ok_or_else(|| Error::Credential("there is none".into()))?;
    let own = inspect::certificate_of(&first).map_err(Error::Credential)?;
    let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).map_err(unreadable)?;
    let as_client = CertifiedKey::from_der(vec![first], key, provider)?;
    let as_server = CertifiedKey::new(chain, Arc::clone(&as_client.key));
    Ok((Arc::new(as_server), Arc::new(as_client), own))
}

type Believed = (Arc<RootCertStore>, Arc<dyn ClientCertVerifier>);

fn believed(bundle: &Bundle, provider: &Arc<CryptoProvider>) -> Result<Believed, Error> {
    let roots = bundle.roots()?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
    Ok((roots, builder.allow_unauthenticated().build()?))
}
