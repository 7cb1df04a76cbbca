//! What the store keeps for a key, and one committed change of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ObjectKey, Revision};

/// One version of one object. `value` is the JSON that clients read, with its own revision already in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lives.
    pub key: ObjectKey,
    /// Revision that created the object.
    pub created: Revision,
    /// Revision of this version.
    pub modified: Revision,
    /// The object's JSON.
    pub value: Bytes,
    /// Offset in `value` of the first digit of `modified` (see [`crate::store::txn::Action::Put`]).
    pub splice: u32,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It did not exist before.
    Created,
    /// It has a new version.
    Updated,
    /// It is gone. The record is the last version, with the revision of the deletion in it.
    Deleted,
}

/// One committed change, as watches deliver it, in revision order (and in transaction order within a revision).
#[derive(Debug, Clone)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The version after the change.
    pub record: Arc<Record>,
    /// The version before it, where there was one. Selectors need it.
    pub previous: Option<Arc<Record>>,
    /// The causal id of the request that asked for the change (0: none). Carried through the log.
    pub cause: u64,
}

impl Change {
    /// The revision that made the change.
    pub fn revision(&self) -> Revision {
        self.record.modified
    }
}
