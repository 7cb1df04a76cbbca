//! Who is told of every entry that a replica applies: the simulator, which compares replicas with each other. Elsewhere nobody.

use std::fmt;
use std::sync::Arc;

use super::Txn;
use crate::model::Revision;

/// An entry of the log as a replica has applied it.
#[derive(Debug, Clone, Copy)]
pub struct Applied<'a> {
    /// Term of the leader that wrote it.
    pub term: u64,
    /// That leader's number.
    pub leader: u64,
    /// Its place in the log, hence its revision.
    pub index: u64,
    /// What it asks.
    pub content: Content<'a>,
    /// Whether the state machine did what it asks; false where a compare failed or the fence was stale.
    pub done: bool,
}

/// What an entry asks.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A transaction.
    Txn(&'a Txn),
    /// To forget history.
    Compact(Revision),
    /// Other members.
    Members,
    /// Nothing: a new leader's first.
    Blank,
}

/// Is told, in order, while the state is locked: it must neither wait nor ask the store.
pub trait Witness: Send + Sync + 'static {
    /// An entry was applied.
    fn applied(&self, entry: Applied<'_>);
    /// The state was replaced by a leader's, which ends with entry `index`.
    fn installed(&self, index: u64);
}

/// A witness, or nobody.
#[derive(Clone, Default)]
pub struct Witnessed(pub Option<Arc<dyn Witness>>);

impl fmt::Debug for Witnessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Witnessed" } else { "Unwitnessed" })
    }
}
