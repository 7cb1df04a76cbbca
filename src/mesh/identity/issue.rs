//! Makes certificates: the authority signs itself, everything else is a leaf that it signs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{AUTHORITY_LIFETIME, CLOCK_SKEW, Credential, LEAF_LIFETIME, Subject};
use crate::model::Timestamp;

/// Common name of the cluster's authority.
pub const AUTHORITY_NAME: &str = "shoal-ca";

/// What a leaf says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// `CN`: the user's name, as the API's authentication reads it.
    pub common_name: String,
    /// `O`: the user's group.
    pub organization: String,
    /// DNS names; none for a client.
    pub names: BTreeSet<String>,
    /// Addresses; none for a client.
    pub addresses: BTreeSet<IpAddr>,
}

impl Leaf {
    /// What the API server shows.
    pub fn server(subject: &Subject) -> Self {
        Self {
            common_name: "kube-apiserver".into(),
            organization: String::new(),
            names: subject.dns_names(),
            addresses: subject.ip_addresses(),
        }
    }

    /// What a client shows.
    pub fn client(user: &str, group: &str) -> Self {
        Self {
            common_name: user.into(),
            organization: group.into(),
            names: BTreeSet::new(),
            addresses: BTreeSet::new(),
        }
    }

    fn is_server(&self) -> bool {
        !self.names.is_empty()
    }
}

/// A new authority.
pub fn authority(now: Timestamp) -> Result<Credential, rcgen::Error> {
    sign_authority(&KeyPair::generate()?, now)
}

/// An authority for a key that is there already.
pub fn authority_with(key_pem: &str, now: Timestamp) -> Result<Credential, rcgen::Error> {
    sign_authority(&KeyPair::from_pem(key_pem)?, now)
}

/// A leaf with a new key, signed by `authority`.
pub fn leaf(want: &Leaf, authority: &Credential, now: Timestamp) -> Result<Credential, rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate_pem, KeyPair::from_pem(&authority.key_pem)?)?;
    let key = KeyPair::generate()?;
    let mut params = template(&want.common_name, &want.organization, LEAF_LIFETIME, now);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    if want.is_server() {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }
    for name in &want.names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(want.addresses.iter().copied().map(SanType::IpAddress));
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Credential { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn sign_authority(key: &KeyPair, now: Timestamp) -> Result<Credential, rcgen::Error> {
    let mut params = template(AUTHORITY_NAME, "", AUTHORITY_LIFETIME, now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(Credential { certificate_pem: params.self_signed(key)?.pem(), key_pem: key.serialize_pem() })
}

fn template(common_name: &str, organization: &str, lifetime: Duration, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    if !organization.is_empty() {
        subject.push(DnType::OrganizationName, organization);
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now.since(Timestamp::default());
    params.distinguished_name = subject;
    params.not_before = epoch + since_epoch.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + since_epoch.saturating_add(lifetime);
    params
}
