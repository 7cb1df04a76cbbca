//! A node that must begin anew asks for it here; the process ends the tree, does what only can be done then, and starts it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::store::recovery::Rebuild;

/// Why the tree is to end and to start again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// The store is made the beginning of a recovered cluster between.
    Recover(Rebuild),
    /// The node takes a new number at its start.
    Rejoin,
}

/// Where it is asked for. Clones are the same place; the first wish stays.
#[derive(Debug, Clone, Default)]
pub struct Restarts(Arc<watch::Sender<Option<Restart>>>);

impl Restarts {
    /// Asks for a restart.
    pub fn ask(&self, restart: Restart) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(restart);
            first
        });
    }

    /// Waits until one is asked for. Cancel-safe.
    pub async fn asked(&self) -> Restart {
        let mut asked = self.0.subscribe();
        loop {
            if let Some(restart) = asked.borrow_and_update().clone() {
                return restart;
            }
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
