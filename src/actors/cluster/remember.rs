//! Writes down where others are, so that a restart finds them without a seed.

use std::path::PathBuf;
use std::time::Duration;

use ractor::ActorProcessingErr;
use tokio::sync::watch;

use crate::actors::node::remembered::Remembered;
use crate::actors::service::Service as Task;
use crate::actors::supervisor::Child;
use crate::mesh::member::SharedView;

/// Least time between two writes, once [`FEW`] others are known.
const PAUSE: Duration = Duration::from_secs(5);
/// Whoever knows fewer than this may die with the only one that it could have asked: each is written down at once.
const FEW: usize = 5;

/// What remembering takes.
#[derive(Clone)]
pub struct Remember {
    /// Members.
    pub view: watch::Receiver<SharedView>,
    /// What was remembered at the start.
    pub remembered: Remembered,
    /// The data directory.
    pub data: PathBuf,
}

impl Remember {
    /// The child `remember` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("remember", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(mut self) -> Result<(), ActorProcessingErr> {
        loop {
            let view = self.view.borrow_and_update().clone();
            let others: Vec<_> =
                view.reachable().map(|member| (member.node.to_string(), member.meta.addresses.clone())).collect();
            // Alone, what was known of others is all there is to find them by.
            if others.len() > 1 && self.remembered.meet(others) {
                self.remembered.save(&self.data)?;
            }
            if self.remembered.peers.len() >= FEW {
                tokio::time::sleep(PAUSE).await;
            }
            self.view.changed().await?;
        }
    }
}
