//! Reads certificates back and says why one will not do.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::issue::Leaf;
use super::{Credential, RENEW_BEFORE};
use crate::model::Timestamp;

/// Whether the authority can sign; the reason where it cannot.
pub fn authority(found: &Credential, now: Timestamp) -> Result<(), String> {
    let der = der(found)?;
    let certificate = parse(&der)?;
    matches_key(&certificate, found)?;
    if !certificate.is_ca() {
        return Err("it is not an authority's certificate".into());
    }
    certificate.verify_signature(None).map_err(|_| "its signature is wrong".to_string())?;
    if seconds_left(&certificate, now) <= 0 {
        return Err("it has ended".into());
    }
    Ok(())
}

/// Whether a leaf is good for a while and says what it should; the reason where not.
pub fn leaf(found: &Credential, want: &Leaf, authority: &Credential, now: Timestamp) -> Result<(), String> {
    let der = der(found)?;
    let certificate = parse(&der)?;
    let authority_der = self::der(authority)?;
    let signer = parse(&authority_der)?;
    matches_key(&certificate, found)?;
    certificate
        .verify_signature(Some(signer.public_key()))
        .map_err(|_| "another authority has signed it".to_string())?;
    if seconds_left(&certificate, now) < RENEW_BEFORE.as_secs().cast_signed() {
        return Err("it ends soon".into());
    }
    if read(&certificate)? != *want {
        return Err("its names have changed".into());
    }
    Ok(())
}

fn der(credential: &Credential) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(credential.certificate_pem.as_bytes()).map_err(|error| error.to_string())
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|error| error.to_string())
}

fn matches_key(certificate: &X509Certificate<'_>, credential: &Credential) -> Result<(), String> {
    let key = KeyPair::from_pem(&credential.key_pem).map_err(|error| format!("its key cannot be read ({error})"))?;
    if certificate.public_key().raw == key.subject_public_key_info() {
        return Ok(());
    }
    Err("its key is another one's".into())
}

fn seconds_left(certificate: &X509Certificate<'_>, now: Timestamp) -> i64 {
    certificate.validity().not_after.timestamp() - now.0.div_euclid(1_000_000)
}

fn read(certificate: &X509Certificate<'_>) -> Result<Leaf, String> {
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => drop(names.insert((*name).to_string())),
            GeneralName::IPAddress(octets) => drop(addresses.insert(address(octets)?)),
            _ => return Err("it has a name of an unknown kind".into()),
        }
    }
    let subject = certificate.subject();
    let text = |found: Option<&x509_parser::prelude::AttributeTypeAndValue<'_>>| {
        found.and_then(|value| value.as_str().ok()).unwrap_or_default().to_string()
    };
    Ok(Leaf {
        common_name: text(subject.iter_common_name().next()),
        organization: text(subject.iter_organization().next()),
        names,
        addresses,
    })
}

fn address(octets: &[u8]) -> Result<IpAddr, String> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or(sixteen).map_err(|_| "it has a malformed address".to_string())
}
