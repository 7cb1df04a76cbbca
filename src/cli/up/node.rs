//! The node as `shoal up` drives it.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::actors::node::restart::{Restart, Restarts};
use crate::actors::node::{Node, boot, rejoin};
use crate::actors::settings::NodeSettings;
use crate::cli::control::Door;
use crate::cli::failure::Failure;
use crate::runtime::ContainerRuntime;

/// A started node.
pub struct RunningNode {
    node: Node,
    data: PathBuf,
    restarts: Restarts,
    name: String,
    url: String,
}

/// Starts the node's tree.
pub async fn start(settings: NodeSettings) -> Result<RunningNode, Failure> {
    let url = boot::url(&settings);
    let restarts = Restarts::default();
    let node = boot::start(&settings, &restarts).await?;
    Ok(RunningNode { node, data: settings.data, restarts, name: settings.name, url })
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

    /// Waits until the node wants to begin anew. Cancel-safe.
    pub async fn restart(&self) -> Restart {
        self.restarts.asked().await
    }

    /// What follows a failure: damage is mended by the others, where there are others.
    pub async fn after(&self, failure: Failure) -> Result<Option<Restart>, Failure> {
        let others = self.node.store.members().len() > 1;
        let Some(damage) = self.node.store.damage().filter(|_| others) else { return Err(failure) };
        tracing::error!(%damage, "the store is damaged; this node begins anew with what the others have");
        rejoin::note(&self.data, &damage)?;
        self.stop().await;
        Ok(Some(Restart::Rejoin))
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
