//! What a transaction may hold, and how the revision's digits get into a value.

use bytes::{Bytes, BytesMut};

use crate::model::{ObjectKey, Revision};
use crate::store::{Action, Record, Txn};

/// Whether a transaction can be applied at all: bounds, one operation per key, splice within the value.
pub fn is_valid(txn: &Txn) -> bool {
    let mut keys: Vec<&ObjectKey> = txn.ops.iter().map(|op| &op.key).collect();
    keys.sort_unstable();
    let unique = keys.iter().zip(keys.iter().skip(1)).all(|(a, b)| a != b);
    let spliced = txn.ops.iter().all(|op| match &op.action {
        Action::Put { value, splice } => *splice as usize <= value.len(),
        Action::Delete | Action::Check => true,
    });
    txn.ops.len() <= Txn::MAX_OPS && unique && spliced
}

impl Record {
    /// This version as its deletion's change carries it.
    pub(super) fn deleted_at(&self, revision: Revision) -> Self {
        let digits = decimal_len(self.modified);
        let value = spliced(&self.value, self.splice as usize, digits, revision);
        Self { modified: revision, value, ..self.clone() }
    }
}

/// `value` with the `old` bytes at `at` replaced by the revision's digits.
pub(super) fn spliced(value: &Bytes, at: usize, old: usize, revision: Revision) -> Bytes {
    let digits = revision.to_string();
    let mut out = BytesMut::with_capacity(value.len() + digits.len());
    out.extend_from_slice(value.get(..at).unwrap_or(value));
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(value.get(at + old..).unwrap_or_default());
    out.freeze()
}

fn decimal_len(revision: Revision) -> usize {
    revision.0.checked_ilog10().map_or(1, |log| log as usize + 1)
}
