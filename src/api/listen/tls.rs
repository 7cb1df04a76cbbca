//! The server's side of TLS: its certificate, and the authority whose client certificates it believes.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// What the server shows and whom it believes, all PEM.
#[derive(Clone)]
pub struct TlsMaterial {
    /// The server's certificate, then those between it and the authority.
    pub certificate_pem: Vec<u8>,
    /// Its private key.
    pub key_pem: Vec<u8>,
    /// The authority of client certificates.
    pub client_ca_pem: Vec<u8>,
}

/// Why TLS material cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part is not PEM, or not what it should be.
    #[error("the {0} is not readable PEM")]
    Pem(&'static str),
    /// The parts do not fit together.
    #[error("the certificate and its key do not fit: {0}")]
    Rustls(#[from] rustls::Error),
    /// The authority cannot be used.
    #[error("the authority of client certificates cannot be used: {0}")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// A configuration that asks for a client certificate but takes connections without one.
pub fn server(material: &TlsMaterial, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
    let chain = certificates(&material.certificate_pem, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&material.key_pem).map_err(|_| Error::Pem("private key"))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&material.client_ca_pem, "authority's certificate")? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Error::Pem(what)),
    }
}
