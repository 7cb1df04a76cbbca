//! Reads certificates back, and says why one will not do.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::issue::{Leaf, issue_time};
use super::{ADMIN, CLOCK_SKEW, Credential, Fingerprint, NODE_PREFIX, NODES_GROUP};
use crate::model::{NodeId, Timestamp};

/// What a certificate says. Nothing here says that anybody trusts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(super) leaf: Leaf,
    /// Start, [`CLOCK_SKEW`] before it was made; whole seconds.
    pub not_before: Timestamp,
    /// End; whole seconds.
    pub not_after: Timestamp,
    /// When it was made, to the microsecond: from its serial number, or `not_before` plus [`CLOCK_SKEW`] where the
    /// serial number does not tell. By the clock of whoever signed it.
    pub issued: Timestamp,
    /// Whether it is an authority's.
    pub is_authority: bool,
    /// Its key.
    pub key: Fingerprint,
}

impl Certificate {
    /// The node it names; `None` where it is not a node's.
    pub fn node(&self) -> Option<NodeId> {
        if self.leaf.organization != NODES_GROUP {
            return None;
        }
        let name = self.leaf.common_name.strip_prefix(NODE_PREFIX)?;
        (!name.is_empty()).then(|| NodeId(name.into()))
    }
}

impl Certificate {
    /// The node that it was given to: its own, or an administrator's on that node ([`admin_of`]). Where that node is
    /// removed, it counts no more.
    pub fn holder(&self) -> Option<NodeId> {
        let admin = || self.leaf.common_name.strip_prefix(ADMIN)?.strip_prefix(':');
        self.node().or_else(|| admin().filter(|name| !name.is_empty()).map(|name| NodeId(name.into())))
    }
}

/// The user name of the administrator's certificate that a joining node is given.
pub fn admin_of(node: &NodeId) -> String {
    format!("{ADMIN}:{node}")
}

/// Reads a certificate in DER; the reason where it is none.
pub fn certificate_of(der: &[u8]) -> Result<Certificate, String> {
    let parsed = parse(der)?;
    let validity = parsed.validity();
    let not_before = seconds(validity.not_before.timestamp());
    let not_after = seconds(validity.not_after.timestamp());
    let told = issue_time(parsed.raw_serial()).filter(|at| (not_before..=not_after).contains(at));
    Ok(Certificate {
        leaf: read(&parsed)?,
        not_before,
        not_after,
        issued: told.unwrap_or(not_before + CLOCK_SKEW),
        is_authority: parsed.is_ca(),
        key: fingerprint(parsed.public_key().raw),
    })
}

/// Reads the first certificate of a PEM text; the reason where there is none.
pub fn first_certificate(pem: &str) -> Result<Certificate, String> {
    certificate_of(&first_der(pem)?)
}

/// The first certificate of a PEM text.
pub fn first_der(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("it is not a certificate in PEM ({error})"))
}

/// SHA-256 of a `SubjectPublicKeyInfo` in DER.
pub fn fingerprint(key_der: &[u8]) -> Fingerprint {
    let digest = ring::digest::digest(&ring::digest::SHA256, key_der);
    Fingerprint(digest.as_ref().try_into().unwrap_or_default())
}

/// Whether `authority_der` has signed `der`. Says nothing of time or purpose.
pub fn signed_by(der: &[u8], authority_der: &[u8]) -> bool {
    let (Ok(certificate), Ok(authority)) = (parse(der), parse(authority_der)) else { return false };
    certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// Whether the authority can sign; the reason where it cannot.
pub fn authority(found: &Credential, now: Timestamp) -> Result<(), String> {
    let der = first_der(&found.certificate_pem)?;
    let certificate = certificate_of(&der)?;
    matches_key(&certificate, found)?;
    if !certificate.is_authority {
        return Err("it is not an authority's certificate".into());
    }
    if !signed_by(&der, &der) {
        return Err("its signature is wrong".into());
    }
    if certificate.not_after <= now {
        return Err("it has ended".into());
    }
    Ok(())
}

/// Whether a leaf has its key, its authority's signature and the wanted names; the reason where not.
pub fn leaf(found: &Credential, want: &Leaf, authority_pem: &str) -> Result<Certificate, String> {
    let der = first_der(&found.certificate_pem)?;
    let certificate = certificate_of(&der)?;
    matches_key(&certificate, found)?;
    if !signed_by(&der, &first_der(authority_pem)?) {
        return Err("another authority has signed it".into());
    }
    if certificate.leaf != *want {
        return Err("its names have changed".into());
    }
    Ok(certificate)
}

/// Whether the certificate belongs to the credential's key.
pub fn matches_key(certificate: &Certificate, credential: &Credential) -> Result<(), String> {
    let key = KeyPair::from_pem(&credential.key_pem).map_err(|error| format!("its key cannot be read ({error})"))?;
    if certificate.key == fingerprint(&key.subject_public_key_info()) {
        return Ok(());
    }
    Err("its key is another one's".into())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("something follows the certificate".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn seconds(since_epoch: i64) -> Timestamp {
    Timestamp::default() + Duration::from_secs(u64::try_from(since_epoch).unwrap_or(0))
}

fn read(certificate: &X509Certificate<'_>) -> Result<Leaf, String> {
    let subject = certificate.subject();
    let text = |found: Option<&x509_parser::prelude::AttributeTypeAndValue<'_>>| {
        found.and_then(|value| value.as_str().ok()).unwrap_or_default().to_string()
    };
    let mut leaf = Leaf::client(&text(subject.iter_common_name().next()), &text(subject.iter_organization().next()));
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => drop(leaf.names.insert((*name).to_string())),
            GeneralName::IPAddress(octets) => drop(leaf.addresses.insert(address(octets)?)),
            _ => return Err("it has a name of an unknown kind".into()),
        }
    }
    Ok(leaf)
}

fn address(octets: &[u8]) -> Result<IpAddr, String> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or(sixteen).map_err(|_| "it has a malformed address".to_string())
}
