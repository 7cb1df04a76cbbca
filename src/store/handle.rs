//! The store's public face.

use std::sync::Arc;

use super::{Error, Outcome, Record, Txn, Watch};
use crate::model::{ObjectKey, Revision, Scope};

/// A handle on the local replica. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    // filled in by the store's owner
}

/// A part of a list, at one revision.
#[derive(Debug, Clone)]
pub struct Page {
    /// In key order.
    pub records: Vec<Arc<Record>>,
    /// The revision that the whole list is consistent at.
    pub revision: Revision,
    /// Where more remains: how many records follow this page.
    pub remaining: usize,
}

impl Store {
    /// Commits `txn`, or says why not. Returns once the write is durable and visible to reads here.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn commit(&self, _txn: Txn) -> Result<Outcome, Error> {
        Err(Error::Unavailable)
    }

    /// Waits until reads here see every write that was acknowledged anywhere before this call (the read index).
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn barrier(&self) -> Result<Revision, Error> {
        Err(Error::Unavailable)
    }

    /// The newest applied revision.
    pub fn revision(&self) -> Revision {
        Revision(0)
    }

    /// Waits until `revision` is applied here.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn applied(&self, _revision: Revision) -> Result<(), Error> {
        Err(Error::Unavailable)
    }

    /// One object, now.
    pub fn get(&self, _key: &ObjectKey) -> Option<Arc<Record>> {
        None
    }

    /// Objects in key order: of `scope`, `at` a retained revision (now where `None`), after the key `after`, at most
    /// `limit` (all where 0).
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Future`].
    pub fn list(
        &self,
        _scope: &Scope,
        _at: Option<Revision>,
        _after: Option<&ObjectKey>,
        _limit: usize,
    ) -> Result<Page, Error> {
        Err(Error::Unavailable)
    }

    /// Every change of `scope` after `from`, exactly once, in order.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Future`].
    pub fn watch(&self, _scope: Scope, _from: Revision) -> Result<Watch, Error> {
        Err(Error::Unavailable)
    }
}
