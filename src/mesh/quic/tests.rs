//! The port on real sockets of the loopback interface: good peers, bad input, joins, moves.

mod attack;
mod peers;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::task::JoinHandle;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::mesh::fabric::{Channel, Fabric};
use crate::mesh::join::{JoinDoor, Shut};

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An authority and whom it no longer believes.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    refused: Mutex<BTreeSet<String>>,
}

impl Authority {
    pub fn new() -> Arc<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Arc::new(Self { certificate, issuer: Issuer::new(params, key), refused: Mutex::default() })
    }

    /// From now on `node` is nobody.
    pub fn refuse(&self, node: &str) {
        self.refused.lock().insert(node.to_owned());
    }

    /// A certificate of `user` for `names`.
    pub fn leaf(&self, user: &str, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    pub fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    /// A client that shows nothing.
    pub fn stranger(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let mut config = client_builder().with_root_certificates(self.roots()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }
}

pub fn client_builder() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

/// A node's credentials under an authority.
pub struct Paper {
    pub authority: Arc<Authority>,
    leaf: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

impl Paper {
    pub fn of(authority: &Arc<Authority>, node: &str) -> Arc<Self> {
        let leaf = authority.leaf(&format!("system:node:{node}"), &[node, ANY_NODE]);
        Arc::new(Self { authority: authority.clone(), leaf })
    }
}

impl Credentials for Paper {
    fn server(&self, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, CredentialsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(self.authority.roots());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).allow_unauthenticated().build()?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.leaf.0.clone(), self.leaf.1.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    fn client(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, CredentialsError> {
        let builder = client_builder().with_root_certificates(self.authority.roots());
        let mut config = builder.with_client_auth_cert(self.leaf.0.clone(), self.leaf.1.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<NodeId, String> {
        let first = chain.first().ok_or("no certificate")?;
        let (_, certificate) = X509Certificate::from_der(first).map_err(|error| error.to_string())?;
        let user = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let node = user.and_then(|user| user.strip_prefix("system:node:")).ok_or("not a node's")?;
        if self.authority.refused.lock().contains(node) {
            return Err(format!("{node} was removed"));
        }
        Ok(NodeId(node.into()))
    }
}

/// A port that runs.
pub struct Port {
    pub endpoint: Endpoint,
    pub fabric: Arc<QuicFabric>,
    task: JoinHandle<()>,
}

impl Port {
    pub fn start(authority: &Arc<Authority>, node: &str) -> Self {
        Self::with(authority, node, Limits::default(), Arc::new(Shut(Bytes::from_static(b"shut"))))
    }

    pub fn with(authority: &Arc<Authority>, node: &str, limits: Limits, door: Arc<dyn JoinDoor>) -> Self {
        let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into(), Paper::of(authority, node), limits).unwrap();
        let running = endpoint.clone();
        let task = tokio::spawn(async move { running.run(door).await });
        Self { fabric: endpoint.fabric(), endpoint, task }
    }

    pub fn at(&self) -> SocketAddr {
        self.endpoint.local()
    }

    pub fn count(&self, event: Event) -> u64 {
        self.endpoint.counters().get(event)
    }

    /// Waits until `event` was counted `times` times.
    pub async fn counted(&self, event: Event, times: u64) {
        let reached = async {
            while self.count(event) < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        assert!(waited.is_ok(), "{event:?} was counted {} times, not {times}", self.count(event));
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects `from` to `to`; both ends.
pub async fn pair(from: &Port, to: &Port, name: &str) -> (Arc<dyn Channel>, Arc<dyn Channel>) {
    let name = NodeId(name.into());
    let both = async { tokio::join!(from.fabric.dial(&name, to.at()), to.fabric.accept()) };
    let (dialled, accepted) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    (dialled.unwrap(), accepted.unwrap())
}

/// A plain QUIC client bound to `local`.
pub fn client(local: [u8; 4], tls: rustls::ClientConfig) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client((local, 0).into()).unwrap();
    endpoint.set_default_client_config(client_of(tls, quinn::TransportConfig::default()).unwrap());
    endpoint
}
