//! Certificates for the bench: an authority and nodes under it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use shoal::mesh::identity::provider;
use shoal::mesh::join::Shut;
use shoal::mesh::quic::{ANY_NODE, Credentials, CredentialsError, Endpoint, Limits};
use shoal::model::NodeId;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Signs nodes.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A node's papers.
    pub fn node(&self, name: &str) -> Paper {
        let mut params =
            CertificateParams::new(vec![name.to_owned(), ANY_NODE.to_owned()]).expect("both are DNS names");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{name}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("the authority is one");
        Paper { roots: Arc::new(roots), certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
    }
}

/// A node's certificate and whom it believes.
pub struct Paper {
    roots: Arc<rustls::RootCertStore>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Credentials for Paper {
    fn server(&self, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, CredentialsError> {
        let provider = Arc::new(provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone())
            .allow_unauthenticated()
            .build()?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    fn client(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, CredentialsError> {
        let provider = Arc::new(provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<NodeId, String> {
        let (_, certificate) =
            X509Certificate::from_der(chain.first().ok_or("none")?).map_err(|error| error.to_string())?;
        let user = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let node = user.and_then(|user| user.strip_prefix("system:node:")).ok_or("not a node's")?;
        Ok(NodeId(node.into()))
    }
}

/// A port of `name` that runs, and where it is.
pub fn port(authority: &Authority, name: &str) -> (Endpoint, SocketAddr) {
    let papers = Arc::new(authority.node(name));
    let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into(), papers, Limits::default()).expect("a port");
    let (running, at) = (endpoint.clone(), endpoint.local());
    tokio::spawn(async move { running.run(Arc::new(Shut(bytes::Bytes::new()))).await });
    (endpoint, at)
}
