//! Join tokens: one string that tells a stranger which cluster is the right one, and the cluster that the stranger may
//! join.
//!
//! `shoal1.<fingerprint>.<id>.<secret>.<check>`: the fingerprint of the authority that signs (64 hexadecimal digits), a
//! public id (6 letters), a secret (32 letters, 160 bits) and a checksum of all before (8 hexadecimal digits), which
//! tells a mistyped token from a wrong one. The cluster keeps the secret's SHA-256 only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::RngCore;
use ring::digest::{SHA256, digest};

use super::Fingerprint;
use crate::mesh::mutant::mutant;
use crate::model::Timestamp;

/// What the name of a token's Secret in `kube-system` begins with; the id follows.
pub const SECRET_NAME_PREFIX: &str = "shoal-join-";
/// The type of such a Secret.
pub const SECRET_TYPE: &str = "shoal.dev/join-token";
/// Longest life of a token.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(24 * 365);

const FORM: &str = "shoal1";
/// No `i`, `l`, `o`, `u` (Crockford's base 32): nothing to mistake, and lower case, so that an id can name an object.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LETTERS: usize = 6;
const SECRET_LETTERS: usize = 32;
const CHECK_DIGITS: usize = 8;

/// Why a text is no token. Nothing here says whether a cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not begin as one.
    #[error("this is not a join token: one begins with `{FORM}.`")]
    NotAToken,
    /// It is of a form to come.
    #[error("the token has the form {0:?}, which this release does not know")]
    Form(String),
    /// Its end is missing.
    #[error("the token is cut off: it has {found} characters of {expected}")]
    Truncated {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A part has letters that it cannot have, or a wrong length.
    #[error("the token is mistyped: its {0} cannot be right")]
    Part(&'static str),
    /// The checksum does not fit.
    #[error("the token is mistyped: its checksum does not fit")]
    Checksum,
}

/// Why a token does not let in. The first two say the same to whoever shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no such token.
    #[error("the join token is not valid for this cluster")]
    Unknown,
    /// There is one with this id, with another secret.
    #[error("the join token is not valid for this cluster")]
    WrongSecret,
    /// Its time is over.
    #[error("the join token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It has been used as often as it may be.
    #[error("the join token has been used up")]
    Spent,
}

/// Why a stored token cannot be read: the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {0:?} of the stored join token is missing or cannot be read")]
pub struct MalformedRecord(pub &'static str);

/// A token as it is handed to who may join. Its `Debug` hides the secret; only `Display` writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The authority that signs the certificate of whom the stranger asks.
    pub fingerprint: Fingerprint,
    /// Public name.
    pub id: String,
    secret: String,
}

impl JoinToken {
    /// Draws a new one for the cluster whose authority has this fingerprint.
    pub fn generate(rng: &mut dyn RngCore, fingerprint: Fingerprint) -> Self {
        Self { fingerprint, id: letters(rng, ID_LETTERS), secret: letters(rng, SECRET_LETTERS) }
    }

    /// What a stranger presents: the id with the secret, without the fingerprint.
    pub fn presented(&self) -> Presented {
        Presented { id: self.id.clone(), secret: self.secret.clone() }
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = format!("{FORM}.{}.{}.{}", self.fingerprint, self.id, self.secret);
        write!(f, "{body}.{:08x}", crc32fast::hash(body.as_bytes()))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        check_form(text)?;
        let expected = FORM.len() + 64 + ID_LETTERS + SECRET_LETTERS + CHECK_DIGITS + 4;
        if text.len() < expected {
            return Err(ParseError::Truncated { found: text.len(), expected });
        }
        let mut parts = text.splitn(5, '.').skip(1);
        let mut part = || parts.next().unwrap_or_default();
        let (fingerprint, id, secret, check) = (part(), part(), part(), part());
        let body = text.strip_suffix(check).and_then(|body| body.strip_suffix('.')).unwrap_or_default();
        let token = Self {
            fingerprint: fingerprint.parse().map_err(|_| ParseError::Part("fingerprint"))?,
            id: spelt(id, ID_LETTERS).ok_or(ParseError::Part("id"))?,
            secret: spelt(secret, SECRET_LETTERS).ok_or(ParseError::Part("secret"))?,
        };
        if check != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err(ParseError::Checksum);
        }
        Ok(token)
    }
}

/// What a stranger shows of its token; travels to the cluster only once its authority has been verified.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Presented {
    /// The token's id.
    pub id: String,
    secret: String,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({})", self.id)
    }
}

impl Presented {
    /// Name of the Secret that the token would be in; `None` where the id is none (it comes from a stranger).
    pub fn secret_name(&self) -> Option<String> {
        spelt(&self.id, ID_LETTERS).map(|id| format!("{SECRET_NAME_PREFIX}{id}"))
    }
}

/// A token as the cluster keeps it: Secret `kube-system/shoal-join-<id>` of type [`SECRET_TYPE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Public name.
    pub id: String,
    /// SHA-256 of the secret.
    pub secret_sha256: Fingerprint,
    /// Until when it lets in.
    pub expires: Timestamp,
    /// How often it still lets in; `None` for any number.
    pub uses_left: Option<u32>,
    /// When it was made.
    pub created: Timestamp,
}

impl TokenRecord {
    /// The record of a new token that lives `lifetime` (at most [`MAX_TOKEN_LIFETIME`]).
    pub fn new(token: &JoinToken, now: Timestamp, lifetime: Duration, uses: Option<u32>) -> Self {
        Self {
            id: token.id.clone(),
            secret_sha256: hashed(&token.secret),
            expires: now + lifetime.min(MAX_TOKEN_LIFETIME),
            uses_left: uses,
            created: now,
        }
    }

    /// Name of its Secret.
    pub fn secret_name(&self) -> String {
        format!("{SECRET_NAME_PREFIX}{}", self.id)
    }

    /// As the Secret's data, plain text (the API's base 64 is the caller's).
    pub fn to_secret_data(&self) -> BTreeMap<String, String> {
        let mut data = BTreeMap::from([
            ("id".to_owned(), self.id.clone()),
            ("secret-sha256".to_owned(), self.secret_sha256.to_string()),
            ("expires".to_owned(), self.expires.rfc3339_micro()),
            ("created".to_owned(), self.created.rfc3339_micro()),
        ]);
        data.extend(self.uses_left.map(|uses| ("uses-left".to_owned(), uses.to_string())));
        data
    }

    /// From the Secret's data, plain text.
    ///
    /// # Errors
    /// Where a field is missing or odd; such a token lets nobody in.
    pub fn from_secret_data(data: &BTreeMap<String, String>) -> Result<Self, MalformedRecord> {
        let field = |name: &'static str| data.get(name).ok_or(MalformedRecord(name));
        let time = |name| Timestamp::parse(field(name)?).ok_or(MalformedRecord(name));
        let uses = data.get("uses-left").map(|text| text.parse().map_err(|_| MalformedRecord("uses-left")));
        Ok(Self {
            id: spelt(field("id")?, ID_LETTERS).ok_or(MalformedRecord("id"))?,
            secret_sha256: field("secret-sha256")?.parse().map_err(|_| MalformedRecord("secret-sha256"))?,
            expires: time("expires")?,
            uses_left: uses.transpose()?,
            created: time("created")?,
        })
    }

    /// Whether it can never let in again, so that it can be removed.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now || self.uses_left == Some(0)
    }
}

/// Whether `presented` lets in: the record after this use, to be stored by compare-and-swap before anything is
/// granted. `record` is that of the presented id, where there is one. Whoever does not have the secret learns nothing,
/// neither from the answer nor from its time.
pub fn admit(record: Option<&TokenRecord>, presented: &Presented, now: Timestamp) -> Result<TokenRecord, TokenError> {
    let nobody = Fingerprint([0; 32]);
    let known = record.filter(|record| record.id == presented.id);
    let stored = known.map_or(nobody, |record| record.secret_sha256);
    // A secret of 160 bits needs no slow hash. The comparison is of hashes and in constant time.
    #[allow(deprecated, reason = "the module keeps only this function for comparing in constant time")]
    let right = ring::constant_time::verify_slices_are_equal(&hashed(&presented.secret).0, &stored.0).is_ok();
    let record = known.ok_or(TokenError::Unknown)?;
    if !right {
        return Err(TokenError::WrongSecret);
    }
    if record.expires <= now {
        return Err(TokenError::Expired { at: record.expires });
    }
    let uses_left = match record.uses_left {
        Some(0) => return Err(TokenError::Spent),
        Some(uses) if !mutant("token-use-not-counted") => Some(uses - 1),
        same => same,
    };
    Ok(TokenRecord { uses_left, ..record.clone() })
}

fn check_form(text: &str) -> Result<(), ParseError> {
    let form = text.split('.').next().unwrap_or_default();
    if form == FORM {
        return Ok(());
    }
    let newer = form.strip_prefix("shoal").is_some_and(|version| version.parse::<u32>().is_ok());
    Err(if newer { ParseError::Form(form.to_owned()) } else { ParseError::NotAToken })
}

fn spelt(text: &str, letters: usize) -> Option<String> {
    let known = text.bytes().all(|letter| ALPHABET.contains(&letter));
    (known && text.len() == letters).then(|| text.to_owned())
}

fn letters(rng: &mut dyn RngCore, count: usize) -> String {
    let mut bytes = vec![0; count];
    rng.fill_bytes(&mut bytes);
    bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).map(|letter| char::from(*letter)).collect()
}

fn hashed(secret: &str) -> Fingerprint {
    Fingerprint(digest(&SHA256, secret.as_bytes()).as_ref().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests;
