//! How a stranger knows the cluster: by the fingerprint of its authority's key, which its join token carries.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::verify::{set_up_client, signed_server};
use super::{Error, Fingerprint, inspect};
use crate::world::clock::Clock;

/// Why a seed is not one of the cluster that the token names. `Debug` says the same as `Display`, because rustls prints
/// the former.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// None of the certificates that it shows is of the authority.
    #[error("the seed belongs to another cluster: none of its authorities is {expected}, which the token names")]
    OtherCluster {
        /// The authority of the token.
        expected: Fingerprint,
    },
    /// It shows the authority, and a certificate that is no node's.
    #[error("the seed does not show a node's certificate")]
    NotANode,
}

impl fmt::Debug for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PinError {
    /// The error behind one of rustls, where it is of this kind.
    pub fn behind(error: &rustls::Error) -> Option<Self> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error else { return None };
        inner.downcast_ref::<Self>().copied()
    }
}

/// For a node that has nothing but a token: believes a server whose chain holds an authority with this fingerprint that
/// has signed the server's own certificate, a node's and in date. The server's name does not matter, and no certificate
/// is shown. TLS 1.3 only.
pub fn pinned_client_config(
    fingerprint: Fingerprint,
    alpn: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(super::provider());
    let pin = Pin { fingerprint, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth();
    set_up_client(&mut config, alpn, clock);
    Ok(config)
}

#[derive(Debug)]
struct Pin {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn authority(&self, chain: &[CertificateDer<'_>]) -> Option<CertificateDer<'static>> {
        let is_it = |der: &&CertificateDer<'_>| {
            inspect::certificate_of(der).is_ok_and(|found| found.is_authority && found.key == self.fingerprint)
        };
        chain.iter().find(is_it).map(|der| der.clone().into_owned())
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = PinError::OtherCluster { expected: self.fingerprint };
        let authority = self.authority(intermediates).ok_or_else(|| pin_error(unknown))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        signed_server(end_entity, &roots, &self.provider, now)?;
        let node = inspect::certificate_of(end_entity).ok().and_then(|found| found.node());
        node.map(|_| ServerCertVerified::assertion()).ok_or_else(|| pin_error(PinError::NotANode))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn pin_error(error: PinError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
