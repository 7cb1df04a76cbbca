//! What handshakes ask: which certificate to show, and whether to believe the other one. The answers come from the
//! identity as it is at that moment.
//!
//! Sessions are never resumed: a resumed handshake shows and checks no certificate, and would pass by a revocation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::live::Shared;
use super::{CLOCK_SKEW, Error, LiveIdentity, NODE_PREFIX, Refused, inspect};
use crate::mesh::mutant::mutant;
use crate::mesh::quic::ANY_NODE;
use crate::model::Timestamp;
use crate::world::clock::Clock;

impl LiveIdentity {
    /// For listeners, of the API and of the mesh: shows this node's certificate with its authority's, and asks for a
    /// client's, which must be a believed authority's, in date and not refused where one is shown. Whether a
    /// connection may do without is for whoever takes it. `alpn` in order of preference.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, Error> {
        let judge = Arc::new(Judge(Arc::clone(&self.shared)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.shared.provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(judge.clone())
            .with_cert_resolver(judge);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.time_provider = Arc::new(ClockTime(Arc::clone(&self.shared.clock)));
        Ok(config)
    }

    /// For dialling a peer: the server name is the node's name, and only that node's certificate will do; with the name
    /// [`ANY_NODE`] any node's of the cluster. Shows this node's. TLS 1.3 only.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
        let judge = Arc::new(Judge(Arc::clone(&self.shared)));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.shared.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(judge.clone())
            .with_client_cert_resolver(judge);
        set_up_client(&mut config, alpn, Arc::clone(&self.shared.clock));
        Ok(config)
    }
}

/// What all clients' configurations have in common.
pub(super) fn set_up_client(config: &mut ClientConfig, alpn: &[&[u8]], clock: Arc<dyn Clock>) {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.time_provider = Arc::new(ClockTime(clock));
}

/// The node's clock as rustls asks for it.
struct ClockTime(Arc<dyn Clock>);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.now().since(Timestamp::default())))
    }
}

/// Decides both sides of a handshake.
struct Judge(Arc<Shared>);

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Judge").field(&self.0.name).finish()
    }
}

impl ResolvesServerCert for Judge {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.state().as_server))
    }
}

impl ResolvesClientCert for Judge {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.state().as_client))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Judge {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: they would outlive the authorities, and clients show what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let state = self.0.state();
        let verified = state.clients.verify_client_cert(end_entity, &[], judged_at(end_entity, now))?;
        match state.peer(end_entity) {
            Ok(_) | Err(Refused::NotANode | Refused::Nothing) => Ok(verified),
            Err(refused) => Err(refusal(&refused)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = self.0.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = self.0.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let state = self.0.state();
        signed_server(end_entity, &state.roots, &self.0.provider, now)?;
        let peer = state.peer(end_entity).map_err(|refused| refusal(&refused))?;
        let expected = server_name.to_str();
        if *expected != *ANY_NODE && *peer.node.0 != *expected {
            return Err(CertificateError::NotValidForNameContext {
                expected: server_name.to_owned(),
                presented: vec![format!("{NODE_PREFIX}{}", peer.node)],
            }
            .into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls12_signature(self, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls13_signature(self, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(self)
    }
}

/// Whether one of `roots` has signed a server's certificate that is in date. Intermediates are not looked at: the
/// cluster has none.
pub(super) fn signed_server(
    end_entity: &CertificateDer<'_>,
    roots: &rustls::RootCertStore,
    provider: &CryptoProvider,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let parsed = ParsedCertificate::try_from(end_entity)?;
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], judged_at(end_entity, now), algorithms)
}

fn refusal(refused: &Refused) -> rustls::Error {
    let error = match refused {
        Refused::Revoked(_) => CertificateError::Revoked,
        Refused::Nothing | Refused::Unreadable(_) => CertificateError::BadEncoding,
        Refused::NotANode => CertificateError::ApplicationVerificationFailure,
    };
    error.into()
}

/// The time that a certificate is judged at: now, unless that fault is planted.
fn judged_at(end_entity: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    if !mutant("accept-expired") {
        return now;
    }
    let start = inspect::certificate_of(end_entity)
        .map_or(Duration::ZERO, |found| (found.not_before + CLOCK_SKEW).since(Timestamp::default()));
    UnixTime::since_unix_epoch(start)
}
