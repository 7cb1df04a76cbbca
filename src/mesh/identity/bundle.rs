//! The authorities that are trusted: one most of the time, two while one replaces the other.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::Fingerprint;
use super::inspect::{self, Certificate};
use crate::model::Timestamp;
use crate::plan::authority::{self, MAX_AUTHORITIES};

/// Most bytes of a bundle's text.
const MAX_BUNDLE_BYTES: usize = 64 << 10;

/// Why a text is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A certificate cannot be read.
    #[error("certificate {place} of the bundle cannot be used: {reason}")]
    Certificate {
        /// Which, counted from one.
        place: usize,
        /// Why.
        reason: String,
    },
    /// There is none in it.
    #[error("the bundle holds no certificate")]
    Empty,
    /// Over a bound.
    #[error("the bundle holds more than {MAX_AUTHORITIES} authorities")]
    TooMany,
    /// The one that signs cannot be taken out.
    #[error("the authority that signs must stay in the bundle")]
    Signing,
}

/// An authority's certificate that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    pem: String,
    der: CertificateDer<'static>,
    told: Certificate,
}

impl Trusted {
    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate, DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What it says.
    pub fn certificate(&self) -> &Certificate {
        &self.told
    }

    /// Its key.
    pub fn key(&self) -> Fingerprint {
        self.told.key
    }
}

/// Trusted authorities; the first one signs. At least one, at most [`MAX_AUTHORITIES`], no key twice. Written as their
/// certificates in PEM, one after the other (key `ca.crt` of `ConfigMap` `kube-system/shoal-authorities`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    authorities: Vec<Trusted>,
}

impl Bundle {
    /// Reads certificates in PEM. One that cannot be read, or is no authority's, spoils the whole.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        if text.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooMany);
        }
        let mut authorities: Vec<Trusted> = Vec::new();
        for (index, found) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
            let spoilt = |reason| BundleError::Certificate { place: index + 1, reason };
            let der = found.map_err(|error| spoilt(error.to_string()))?;
            let trusted = read(der).map_err(spoilt)?;
            if authorities.iter().all(|known| known.key() != trusted.key()) {
                authorities.push(trusted);
            }
        }
        match authorities.len() {
            0 => Err(BundleError::Empty),
            1..=MAX_AUTHORITIES => Ok(Self { authorities }),
            _ => Err(BundleError::TooMany),
        }
    }

    /// Its text.
    pub fn pem(&self) -> String {
        self.authorities.iter().map(Trusted::pem).collect()
    }

    /// The authorities, the one that signs first.
    pub fn authorities(&self) -> &[Trusted] {
        &self.authorities
    }

    /// Whether the authority with this key is trusted.
    pub fn contains(&self, key: Fingerprint) -> bool {
        self.authorities.iter().any(|known| known.key() == key)
    }

    /// The key of the one that signs.
    pub fn signing(&self) -> Fingerprint {
        self.authorities.first().map_or(Fingerprint([0; 32]), Trusted::key)
    }

    /// With another authority at the end: it is trusted, but does not sign.
    pub fn with_trusted(&self, certificate_pem: &str) -> Result<Self, BundleError> {
        Self::from_pem(&format!("{}{certificate_pem}", self.pem()))
    }

    /// With an authority, already trusted or not, in front: it signs.
    pub fn with_signing(&self, certificate_pem: &str) -> Result<Self, BundleError> {
        Self::from_pem(&format!("{certificate_pem}{}", self.pem()))
    }

    /// Without an authority that no longer signs.
    pub fn without(&self, key: Fingerprint) -> Result<Self, BundleError> {
        if key == self.signing() {
            return Err(BundleError::Signing);
        }
        Ok(Self { authorities: self.authorities.iter().filter(|known| known.key() != key).cloned().collect() })
    }

    /// Which of them has signed the certificate.
    pub fn issuer_of(&self, der: &[u8]) -> Option<Fingerprint> {
        self.authorities.iter().find(|known| inspect::signed_by(der, &known.der)).map(Trusted::key)
    }

    /// As [`authority::Picture`] has it.
    pub fn picture(&self) -> Vec<authority::Authority> {
        let entry = |known: &Trusted| authority::Authority {
            key: known.key(),
            made: known.told.issued,
            ends: known.told.not_after,
        };
        self.authorities.iter().map(entry).collect()
    }

    /// Without those that have ended; the one that signs stays whatever its end.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> Self {
        let signing = self.signing();
        let keep = |known: &&Trusted| known.told.not_after > now || known.key() == signing;
        Self { authorities: self.authorities.iter().filter(keep).cloned().collect() }
    }

    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        self.authorities.iter().try_for_each(|known| roots.add(known.der.clone()))?;
        Ok(Arc::new(roots))
    }
}

fn read(der: CertificateDer<'static>) -> Result<Trusted, String> {
    let told = inspect::certificate_of(&der)?;
    if !told.is_authority {
        return Err("it is not an authority's".into());
    }
    if !inspect::signed_by(&der, &der) {
        return Err("its signature is wrong".into());
    }
    Ok(Trusted { pem: pem(&der), der, told })
}

/// PEM of a certificate (RFC 7468): lines of 64 characters.
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
