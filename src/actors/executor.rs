//! The door through which actors write: a planner's command, carried out by the API's own request path.

use async_trait::async_trait;

use crate::api::identity::{CONTROLLER_PREFIX, Identity};
use crate::api::registry::{Caller, Registry};
use crate::kube::status::Status;
use crate::model::Revision;
use crate::plan::Command;

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
        let identity = match identity.strip_prefix(NODE_PREFIX) {
            Some(node) => Identity::node(node),
            None => Identity::controller(identity.strip_prefix(CONTROLLER_PREFIX).unwrap_or(identity)),
        };
        Self::execute(self, &Caller::new(identity, cause), command).await
    }
}
