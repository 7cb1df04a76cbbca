//! Certificates for the bench: an authority and nodes under it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
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
        let names = vec![name.to_owned(), ANY_NODE.to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("DNS names and an address");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{name}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        Paper::new(self.certificate.clone(), certificate, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }
}

/// A node's certificate and whom it believes.
pub struct Paper {
    authority: CertificateDer<'static>,
    roots: Arc<rustls::RootCertStore>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Paper {
    fn new(
        authority: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.clone()).expect("the authority is one");
        Self { authority, roots: Arc::new(roots), certificate, key }
    }

    /// Puts it into files for other processes: `ca.pem`, `NAME.pem`, `NAME.key`.
    pub fn write(&self, dir: &Path, name: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("ca.pem"), pem("CERTIFICATE", &self.authority))?;
        std::fs::write(dir.join(format!("{name}.pem")), pem("CERTIFICATE", &self.certificate))?;
        std::fs::write(dir.join(format!("{name}.key")), pem("PRIVATE KEY", self.key.secret_der()))
    }

    /// Reads what [`Paper::write`] wrote.
    pub fn read(dir: &Path, name: &str) -> Result<Self, rustls::pki_types::pem::Error> {
        let authority = CertificateDer::from_pem_file(dir.join("ca.pem"))?;
        let certificate = CertificateDer::from_pem_file(dir.join(format!("{name}.pem")))?;
        Ok(Self::new(authority, certificate, PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key")))?))
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
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
