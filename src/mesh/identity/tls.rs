//! rustls configurations from the node's certificates.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Credential, Error, Identity};

impl Identity {
    /// For the API server: shows the server certificate and asks for a client's, which must be the authority's where
    /// one is shown. Whether a request may do without one is the API's decision. `alpn` in order of preference.
    ///
    /// # Errors
    /// Where the TLS library refuses the certificates.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
        let (chain, key) = parts(&self.server)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// For a client of the cluster that shows `credential`.
    ///
    /// # Errors
    /// Where the TLS library refuses the certificates.
    pub fn client_config(&self, credential: &Credential, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
        let (chain, key) = parts(credential)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// The authority's certificate in DER.
    ///
    /// # Errors
    /// Never for an identity that was loaded; the type says so because PEM is read again.
    pub fn authority_der(&self) -> Result<CertificateDer<'static>, Error> {
        certificate(&self.authority.certificate_pem)
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority_der()?)?;
        Ok(roots)
    }
}

fn parts(credential: &Credential) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes())
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok((vec![certificate(&credential.certificate_pem)?], key))
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| rustls::Error::General(error.to_string()).into())
}
