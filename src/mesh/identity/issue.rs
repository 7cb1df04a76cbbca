//! Makes certificates: an authority signs itself, everything else is a leaf that it signs, for a key of its own making
//! or for one that a request proves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};

use super::{
    AUTHORITY_LIFETIME, CLOCK_SKEW, Credential, Error, Fingerprint, NODE_PREFIX, NODES_GROUP, Subject, inspect,
};
use crate::mesh::mutant::mutant;
use crate::model::Timestamp;

/// What the common name of an authority begins with; the first digits of its fingerprint follow, so that nobody who
/// builds a chain mistakes one for its successor.
const AUTHORITY_NAME: &str = "shoal-ca";
const AUTHORITY_DIGITS: usize = 12;
/// Most bytes of a signing request; one of ours has about 600.
const MAX_REQUEST_BYTES: usize = 16 << 10;
/// Most DNS names and most addresses of a certificate, so that a handshake's first flight stays small.
const MAX_NAMES: usize = 24;
/// Longest name of a node in bytes (a DNS subdomain, RFC 1123).
const MAX_NODE_NAME: usize = 253;
/// First byte of a serial number that tells when the certificate was made; the time in microseconds (8 bytes, big
/// endian) and 8 bytes of the key's fingerprint follow.
const SERIAL_FORM: u8 = 1;
const SERIAL_BYTES: usize = 17;

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Over a bound.
    #[error("the request has too {0}")]
    TooMuch(&'static str),
    /// It cannot be read, or whoever made it does not have its key.
    #[error("the signing request cannot be used: {0}")]
    Request(String),
    /// The key is of a kind that the cluster does not use (ECDSA P-256).
    #[error("the request's key is not an ECDSA P-256 key")]
    Key,
    /// The expected names are no names.
    #[error("{0:?} is not a name of a node or host")]
    Name(String),
    /// It asks for a name that it may not have.
    #[error("the request asks for {0:?}, which it may not have")]
    Stray(String),
    /// The user's name is one that only nodes have.
    #[error("{0:?} is not a user's name")]
    User(String),
    /// The signature could not be made.
    #[error("the certificate could not be signed: {0}")]
    Failed(String),
}

impl From<rcgen::Error> for SignError {
    fn from(error: rcgen::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

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
    /// What a node shows, to clients and to other nodes, as server and as client.
    pub fn node(subject: &Subject) -> Self {
        Self {
            common_name: subject.user(),
            organization: NODES_GROUP.into(),
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

/// A new key and a signing request for it: key and request, both PEM. The key stays where it was made.
pub fn request(subject: &Subject) -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    let leaf = Leaf::node(subject);
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&leaf.common_name, &leaf.organization);
    params.subject_alt_names = alternatives(&leaf)?;
    Ok((key.serialize_pem(), params.serialize_request(&key)?.pem()?))
}

/// A new key and a signing request for a user's certificate: key and request, both PEM.
pub fn client_request(user: &str, group: &str) -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(user, group);
    Ok((key.serialize_pem(), params.serialize_request(&key)?.pem()?))
}

/// A cluster's authority with its key: it signs.
#[derive(Clone)]
pub struct Authority {
    credential: Credential,
    key: Fingerprint,
}

impl Authority {
    /// A new one.
    pub fn generate(now: Timestamp) -> Result<Self, Error> {
        Self::sign_itself(&KeyPair::generate()?, now)
    }

    /// One for a key that is there already (PEM).
    pub fn with_key(key_pem: &str, now: Timestamp) -> Result<Self, Error> {
        Self::sign_itself(&KeyPair::from_pem(key_pem)?, now)
    }

    /// One that was kept; the reason where it cannot sign.
    pub(super) fn kept(credential: Credential, now: Timestamp) -> Result<Self, String> {
        inspect::authority(&credential, now)?;
        let key = inspect::first_certificate(&credential.certificate_pem)?.key;
        Ok(Self { credential, key })
    }

    /// Its certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.credential.certificate_pem
    }

    /// Its key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Signs a node's certificate for the key of `csr_pem`, good for `lifetime` from `now`. It says what `expected`
    /// says and nothing else: of the request only the key is used, and a request for a name beyond is refused. Gives
    /// the chain that the node shows: its certificate, then the authority's.
    pub fn sign_node(
        &self,
        csr_pem: &str,
        expected: &Subject,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let leaf = Leaf::node(expected);
        check_names(&leaf, expected)?;
        let request = read_request(csr_pem)?;
        let stray = request.params.subject_alt_names.iter().find(|name| !is_among(name, &leaf));
        if let Some(stray) = stray.filter(|_| !mutant("sign-any-name")) {
            return Err(SignError::Stray(format!("{stray:?}")));
        }
        let certificate = self.sign(&leaf, &request.public_key, lifetime, now)?;
        Ok(format!("{certificate}{}", self.certificate_pem()))
    }

    /// Signs a client's certificate for the key of `csr_pem`. The user's name must not be a node's. Gives the
    /// certificate alone.
    pub fn sign_client(
        &self,
        csr_pem: &str,
        user: &str,
        group: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let leaf = client_leaf(user, group)?;
        self.sign(&leaf, &read_request(csr_pem)?.public_key, lifetime, now)
    }

    /// A client's certificate with a new key.
    pub fn issue_client(
        &self,
        user: &str,
        group: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Credential, SignError> {
        self.issue(&client_leaf(user, group)?, lifetime, now)
    }

    /// A node's certificate with a new key, as its founder makes its own.
    pub fn issue_node(&self, subject: &Subject, lifetime: Duration, now: Timestamp) -> Result<Credential, SignError> {
        let leaf = Leaf::node(subject);
        check_names(&leaf, subject)?;
        let mut made = self.issue(&leaf, lifetime, now)?;
        made.certificate_pem.push_str(self.certificate_pem());
        Ok(made)
    }

    fn issue(&self, leaf: &Leaf, lifetime: Duration, now: Timestamp) -> Result<Credential, SignError> {
        let key = KeyPair::generate()?;
        Ok(Credential { certificate_pem: self.sign(leaf, &key, lifetime, now)?, key_pem: key.serialize_pem() })
    }

    fn sign(
        &self,
        leaf: &Leaf,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let signer = KeyPair::from_pem(&self.credential.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&self.credential.certificate_pem, signer)?;
        let mut params = template(lifetime, now);
        params.distinguished_name = distinguished(&leaf.common_name, &leaf.organization);
        params.serial_number = Some(serial(key, now));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        if leaf.is_server() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.subject_alt_names = alternatives(leaf)?;
        Ok(params.signed_by(key, &issuer)?.pem())
    }

    fn sign_itself(key: &KeyPair, now: Timestamp) -> Result<Self, Error> {
        let mut params = template(AUTHORITY_LIFETIME, now);
        let fingerprint = inspect::fingerprint(&key.subject_public_key_info());
        let digits: String = fingerprint.to_string().chars().take(AUTHORITY_DIGITS).collect();
        params.distinguished_name = distinguished(&format!("{AUTHORITY_NAME}-{digits}"), "");
        params.serial_number = Some(serial(key, now));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let credential = Credential { certificate_pem: params.self_signed(key)?.pem(), key_pem: key.serialize_pem() };
        Ok(Self { credential, key: fingerprint })
    }
}

/// When a certificate with this serial number was made; `None` where it does not tell.
pub fn issue_time(serial: &[u8]) -> Option<Timestamp> {
    let (form, rest) = serial.split_first()?;
    let micros = rest.first_chunk::<8>()?;
    if serial.len() != SERIAL_BYTES || *form != SERIAL_FORM {
        return None;
    }
    Some(Timestamp(i64::from_be_bytes(*micros)))
}

/// Whether `text` can name a node: a DNS subdomain as Kubernetes has it (RFC 1123).
pub fn is_node_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    text.len() <= MAX_NODE_NAME && text.split('.').all(label)
}

fn serial(key: &impl PublicKeyData, now: Timestamp) -> SerialNumber {
    let mut bytes = vec![SERIAL_FORM];
    bytes.extend(now.0.to_be_bytes());
    bytes.extend(inspect::fingerprint(&key.subject_public_key_info()).0.iter().take(SERIAL_BYTES - bytes.len()));
    SerialNumber::from_slice(&bytes)
}

fn read_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, SignError> {
    if csr_pem.len() > MAX_REQUEST_BYTES {
        return Err(SignError::TooMuch("many bytes"));
    }
    let request =
        CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| SignError::Request(error.to_string()))?;
    if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
        return Err(SignError::Key);
    }
    Ok(request)
}

fn check_names(leaf: &Leaf, expected: &Subject) -> Result<(), SignError> {
    if leaf.names.len() > MAX_NAMES || leaf.addresses.len() > MAX_NAMES {
        return Err(SignError::TooMuch("many names"));
    }
    let named = std::iter::once(&expected.node).chain(&expected.names);
    named.filter(|name| !is_node_name(name)).try_for_each(|name| Err(SignError::Name(name.clone())))
}

fn client_leaf(user: &str, group: &str) -> Result<Leaf, SignError> {
    if user.is_empty() || user.starts_with(NODE_PREFIX) || group == NODES_GROUP {
        return Err(SignError::User(user.to_owned()));
    }
    Ok(Leaf::client(user, group))
}

fn is_among(name: &SanType, leaf: &Leaf) -> bool {
    match name {
        SanType::DnsName(name) => leaf.names.contains(name.as_str()),
        SanType::IpAddress(address) => leaf.addresses.contains(address),
        _ => false,
    }
}

fn alternatives(leaf: &Leaf) -> Result<Vec<SanType>, rcgen::Error> {
    let names = leaf.names.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
    names.chain(leaf.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)))).collect()
}

fn distinguished(common_name: &str, organization: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    if !organization.is_empty() {
        subject.push(DnType::OrganizationName, organization);
    }
    subject
}

fn template(lifetime: Duration, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now.since(Timestamp::default());
    params.not_before = epoch + since_epoch.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + since_epoch.saturating_add(lifetime.min(AUTHORITY_LIFETIME));
    params
}
