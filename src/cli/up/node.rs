//! The node as `shoal up` drives it.

use async_trait::async_trait;

use crate::actors::node::{Node, boot};
use crate::actors::settings::NodeSettings;
use crate::cli::control::Door;
use crate::cli::failure::Failure;
use crate::runtime::ContainerRuntime;

/// A started node.
pub struct RunningNode {
    node: Node,
    name: String,
    url: String,
}

/// Starts the node's tree.
pub async fn start(settings: NodeSettings) -> Result<RunningNode, Failure> {
    let url = boot::url(&settings);
    let node = boot::start(&settings).await?;
    Ok(RunningNode { node, name: settings.name, url })
}

impl RunningNode {
    /// Where the API is reached on this machine.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Waits until the node is Ready. Cancel-safe.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.node.ready(&self.name).await.map_err(Failure::from)
    }

    /// Waits until the node fails. Cancel-safe.
    pub async fn failed(&self) -> Failure {
        self.node.failed().await;
        Failure::new("the node cannot go on; its log says why. Containers keep running: start it again with `shoal up`")
    }

    /// Stops the process's part; containers go on.
    pub async fn stop(&self) {
        self.node.stop().await;
    }
}

#[async_trait]
impl Door for RunningNode {
    fn runtime(&self) -> &dyn ContainerRuntime {
        &*self.node.runtime
    }

    async fn leave(&self) -> Result<(), String> {
        let cluster = self.node.service.cluster.get().ok_or("the node is no member of a mesh")?;
        cluster.leave(&self.name).await.map(drop).map_err(|status| status.message)
    }
}
