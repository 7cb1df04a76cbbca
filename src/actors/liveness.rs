//! Declares nodes dead, where this node holds the pen: what gossip says becomes a condition of the Node object.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorProcessingErr;
use tokio::sync::watch;
use tokio::time::Instant;

use super::executor::Executor;
use super::mirror::Mirror;
use super::service::Service as Task;
use super::supervisor::Child;
use crate::kube::status::Status;
use crate::mesh::member::{Life, SharedView};
use crate::model::NodeId;
use crate::plan::liveness::{self, Seen};
use crate::store::Store;
use crate::world::World;

/// Name that the writes are made under.
const IDENTITY: &str = "system:controller:node-lifecycle";
/// How often is looked, beside every change of the members.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What declaring takes.
#[derive(Clone)]
pub struct Liveness {
    /// Whether this node holds the pen is the store's to say.
    pub store: Store,
    /// Members.
    pub view: watch::Receiver<SharedView>,
    /// Node objects.
    pub mirror: Arc<Mirror>,
    /// Writes.
    pub executor: Arc<dyn Executor>,
    /// Time.
    pub world: World,
}

impl Liveness {
    /// The child `liveness` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("liveness", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(mut self) -> Result<(), ActorProcessingErr> {
        // Since when this node could have heard of others; only while it leads does it matter.
        let mut leads_since = None;
        loop {
            if self.store.leads() && self.mirror.is_filled() {
                let since = *leads_since.get_or_insert_with(Instant::now);
                if let Err(status) = self.declare(since.elapsed()).await {
                    tracing::warn!(error = status.message, "a dead node could not be declared; trying again");
                }
            } else {
                leads_since = None;
            }
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, self.view.changed()).await {
                return Err("the mesh has ended".into());
            }
        }
    }

    async fn declare(&self, listened: Duration) -> Result<(), Status> {
        let view = self.view.borrow().clone();
        let seen = |name: &str| match view.members.get(&NodeId(name.into())).map(|member| member.life) {
            _ if *view.me.0 == *name => Seen::Alive,
            Some(Life::Alive | Life::Suspect) => Seen::Alive,
            Some(Life::Dead | Life::Left) => Seen::Gone,
            None => Seen::Unknown(listened),
        };
        let commands = liveness::declare(&self.mirror.snapshot().read(), seen, self.world.clock.now())
            .map_err(|error| Status::internal(error.to_string()))?;
        for command in commands {
            tracing::warn!(?command, "declaring a node dead");
            self.executor.execute(IDENTITY, 0, command).await?;
        }
        Ok(())
    }
}
