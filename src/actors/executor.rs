//! The door through which actors write: a planner's command, carried out by the API's own request path.

use std::sync::Arc;

use async_trait::async_trait;

use crate::api::identity::{CONTROLLER_PREFIX, Identity};
use crate::api::registry::{Caller, Registry};
use crate::kube::status::Status;
use crate::model::Revision;
use crate::plan::Command;
use crate::store::Fence;

const NODE_PREFIX: &str = "system:node:";

/// Carries out commands with the admission, strategy and store that clients' requests pass.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Does `command` as `identity` (e.g. `system:controller:deployment`), on behalf of the request `cause` (0: none).
    /// Answers the revision that the write made; `None` where nothing had to be written.
    ///
    /// # Errors
    /// As a client would see it. A conflict means: plan again from a newer snapshot.
    async fn execute(&self, identity: &str, cause: u64, command: Command) -> Result<Option<Revision>, Status>;
}

/// The registry as the door: every identity that actors use is one that the API knows.
#[async_trait]
impl Executor for Registry {
    async fn execute(&self, identity: &str, cause: u64, command: Command) -> Result<Option<Revision>, Status> {
        Self::execute(self, &Caller::new(identity_of(identity), cause), command).await
    }
}

/// The door of a control actor: once a newer epoch of it has begun, everything is refused.
pub struct Fenced {
    /// The door.
    pub registry: Arc<Registry>,
    /// The actor and its epoch.
    pub fence: Fence,
}

#[async_trait]
impl Executor for Fenced {
    async fn execute(&self, identity: &str, cause: u64, command: Command) -> Result<Option<Revision>, Status> {
        let caller = Caller { identity: identity_of(identity), cause, fence: Some(self.fence.clone()) };
        self.registry.execute(&caller, command).await
    }
}

fn identity_of(name: &str) -> Identity {
    match name.strip_prefix(NODE_PREFIX) {
        Some(node) => Identity::node(node),
        None => Identity::controller(name.strip_prefix(CONTROLLER_PREFIX).unwrap_or(name)),
    }
}
