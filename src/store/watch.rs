//! Ordered changes to subscribers.

use std::sync::Arc;

use super::{Change, Error};
use crate::model::Revision;

/// A subscription. A subscriber that falls behind reads from retained history; one that falls behind compaction gets
/// [`Error::Compacted`]. Nothing is buffered per subscriber.
pub struct Watch {
    // filled in by the store's owner
}

/// What a watch yields: the changes after the last batch, and the revision they reach to (a bookmark: nothing of the
/// scope up to it is missing).
#[derive(Debug, Clone)]
pub struct Batch {
    /// In order; empty where only the bookmark moved.
    pub changes: Vec<Arc<Change>>,
    /// Everything up to this revision has been delivered.
    pub revision: Revision,
}

impl Watch {
    /// Waits for the next changes. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Compacted`] where the subscriber fell too far behind, [`Error::Unavailable`] where the store stopped.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        Err(Error::Unavailable)
    }
}
