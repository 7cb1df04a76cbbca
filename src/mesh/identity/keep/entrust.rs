//! The authority's key comes to a node that may lead, and goes when it no longer may. A crash in between leaves what the
//! next start finishes.

use serde::{Deserialize, Serialize};

use super::{Credential, Error, Fingerprint, Identity, files, stored};
use crate::mesh::identity::issue::Authority;
use crate::model::Timestamp;

/// The keys that whoever leads needs: of the authority, and of its successor while that is introduced. They travel
/// between voters only, and lie in private files only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    authority: Pair,
    successor: Option<Pair>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pair {
    certificate_pem: String,
    key_pem: String,
}

/// Which keys somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The authority's.
    pub authority: Fingerprint,
    /// Its successor's.
    pub successor: Option<Fingerprint>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(...)")
    }
}

impl Pair {
    fn of(authority: &Authority) -> Self {
        let Credential { certificate_pem, key_pem } = authority.credential().clone();
        Self { certificate_pem, key_pem }
    }

    fn open(self, now: Timestamp) -> Result<Authority, Error> {
        let credential = Credential { certificate_pem: self.certificate_pem, key_pem: self.key_pem };
        Authority::kept(credential, now).map_err(Error::Credential)
    }
}

impl Identity {
    /// The keys that this node holds; `None` where it holds none.
    pub fn keys(&self) -> Option<Keys> {
        let authority = Pair::of(self.authority.as_ref()?);
        Some(Keys { authority, successor: self.successor.as_ref().map(Pair::of) })
    }

    /// Which keys this node holds.
    pub fn held(&self) -> Option<Held> {
        let authority = self.authority.as_ref()?.fingerprint();
        Some(Held { authority, successor: self.successor.as_ref().map(Authority::fingerprint) })
    }

    /// Keeps the authority's keys, in place of those that are here. They must be of an authority that is trusted already.
    ///
    /// # Errors
    /// Where they are of a stranger or cannot sign; nothing is changed then.
    pub fn entrust(&mut self, keys: Keys, now: Timestamp) -> Result<Held, Error> {
        let authority = keys.authority.open(now)?;
        let successor = keys.successor.map(|pair| pair.open(now)).transpose()?;
        let known = |one: &Authority| self.bundle.contains(one.fingerprint());
        if !known(&authority) && !successor.as_ref().is_some_and(known) {
            return Err(Error::Credential("the keys are of an authority that this node does not trust".into()));
        }
        let mut bundle = self.bundle.with_signing(authority.certificate_pem())?;
        if let Some(successor) = &successor {
            bundle = bundle.with_trusted(successor.certificate_pem())?;
        }
        if self.authority.as_ref().map(Authority::fingerprint) != Some(authority.fingerprint()) {
            self.keep_authority(&authority)?;
        }
        match &successor {
            Some(successor) => stored::store(&self.directory, "ca-next", successor.credential())?,
            None => files::remove(&self.directory, &["ca-next.key", "ca-next.crt"])?,
        }
        (self.authority, self.successor) = (Some(authority), successor);
        self.trust(bundle)?;
        self.held().ok_or(Error::NoAuthority)
    }

    /// As if a successor were put in place: a crash in between is finished by [`stored::finish_switch`].
    fn keep_authority(&self, authority: &Authority) -> Result<(), Error> {
        stored::store(&self.directory, "ca-next", authority.credential())?;
        files::rename(&self.directory, "ca-next.key", "ca.key")?;
        files::rename(&self.directory, "ca-next.crt", "ca.crt")
    }

    /// Forgets the keys: this node signs no more.
    ///
    /// # Errors
    /// Where the file system refuses; the next start finishes what was begun.
    pub fn dismiss(&mut self) -> Result<(), Error> {
        if self.authority.is_none() {
            return Ok(());
        }
        files::rename(&self.directory, "ca.crt", stored::GONE)?;
        (self.authority, self.successor) = (None, None);
        stored::finish_dismissal(&self.directory)
    }
}
