//! The node as `shoal up` drives it.

use crate::actors::settings::NodeSettings;
use crate::cli::failure::Failure;

/// A started node.
pub struct RunningNode {
    url: String,
}

/// Starts the node's tree.
pub async fn start(settings: NodeSettings) -> Result<RunningNode, Failure> {
    Err(Failure::new(format!("this build cannot run a node (asked for {})", settings.name)))
}

impl RunningNode {
    /// Where the API is reached on this machine.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Waits until the node is Ready. Cancel-safe.
    pub async fn ready(&self) -> Result<(), Failure> {
        std::future::pending().await
    }

    /// Waits until the node fails. Cancel-safe.
    pub async fn failed(&self) -> Failure {
        std::future::pending().await
    }

    /// Stops the process's part; containers go on.
    pub async fn stop(self) -> Result<(), Failure> {
        Ok(())
    }
}
