//! The one write operation: compare-and-swap puts and deletes, all or nothing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Epoch, ObjectKey, Revision};

/// A transaction. It commits as one log entry, whose index is the revision of every change in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// At most [`Txn::MAX_OPS`]; a key may appear once.
    pub ops: Vec<Op>,
    /// Refuses the transaction where a newer epoch of the actor has written.
    pub fence: Option<Fence>,
    /// Causal id of the request (0: none).
    pub cause: u64,
}

impl Txn {
    /// Bound on operations in one transaction.
    pub const MAX_OPS: usize = 128;

    /// A transaction of one operation.
    pub fn one(op: Op, cause: u64) -> Self {
        Self { ops: vec![op], fence: None, cause }
    }
}

/// One operation on one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The key.
    pub key: ObjectKey,
    /// What must be true of it.
    pub expect: Expect,
    /// What to do with it.
    pub action: Action,
}

/// A compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Anything.
    Any,
    /// The key does not exist.
    Absent,
    /// The key's latest version is exactly this.
    Revision(Revision),
}

/// A swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Writes a version. The state machine inserts the decimal digits of the new revision at byte `splice` of `value`:
    /// the caller leaves `"resourceVersion":""` there and points between the quotes.
    Put {
        /// The object's JSON, without its revision.
        value: Bytes,
        /// Where the revision's digits go, at most `value.len()`.
        splice: u32,
    },
    /// Removes the key. Removing an absent key is not a change.
    Delete,
    /// Only compares.
    Check,
}

/// The right to write as a control actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The control actor's name.
    pub actor: String,
    /// Its epoch.
    pub epoch: Epoch,
}

/// What a committed transaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The log index, hence the revision of each change.
    pub revision: Revision,
}
