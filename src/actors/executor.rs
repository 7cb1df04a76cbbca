//! The door through which actors write: a planner's command, carried out by the API's own request path.

use async_trait::async_trait;

use crate::kube::status::Status;
use crate::model::Revision;
use crate::plan::Command;

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
