//! Routes to the pods of other nodes: who they are comes from gossip, which addresses their pods have from their Node
//! objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use ractor::ActorProcessingErr;
use tokio::sync::watch;

use crate::actors::mirror::Mirror;
use crate::actors::service::Service as Task;
use crate::actors::supervisor::Child;
use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::mesh::member::{Life, SharedView, View};
use crate::model::Cidr;
use crate::plan::Snapshot;
use crate::runtime::network::routes::{PeerRoute, PodRoutes};

/// How often routes are compared with the kernel's, beside every change of the members.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// How often is looked while a member's Node object is not here yet.
const SOON: Duration = Duration::from_millis(200);

/// What keeping routes takes.
#[derive(Clone)]
pub struct Neighbours {
    /// This node's name.
    pub me: String,
    /// Members.
    pub view: watch::Receiver<SharedView>,
    /// Node objects.
    pub mirror: Arc<Mirror>,
    /// The kernel.
    pub routes: Arc<dyn PodRoutes>,
}

impl Neighbours {
    /// The child `neighbours` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("neighbours", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(mut self) -> Result<(), ActorProcessingErr> {
        loop {
            let view = self.view.borrow_and_update().clone();
            let peers = peers(&self.me, &view, &self.mirror.snapshot().read())?;
            let missing = view.reachable().count() > peers.len() + 1;
            // Until the objects are here, nothing says that a route is no longer wanted.
            if self.mirror.is_filled() {
                let report = self.routes.sync(&peers).await?;
                for refused in &report.refused {
                    tracing::warn!(?refused, "a node's pods are not reachable from here");
                }
            }
            let wait = if missing { SOON } else { COMPARE_EVERY };
            if let Ok(Err(_)) = tokio::time::timeout(wait, self.view.changed()).await {
                return Err("the mesh has ended".into());
            }
        }
    }
}

/// Who has pods, where. A dead node keeps its route: it may come back, and nothing else has its addresses.
fn peers(me: &str, view: &View, snapshot: &Snapshot) -> Result<Vec<PeerRoute>, DecodeError> {
    let mut ranges = BTreeMap::new();
    for object in snapshot.list(id::NODES, None) {
        let node = object.view::<Node>()?;
        let range =
            node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref()).and_then(|text| text.parse::<Cidr>().ok());
        ranges.extend(range.map(|range| (object.key.name.to_string(), range)));
    }
    let route = |(node, member): (&crate::model::NodeId, &crate::mesh::member::Member)| {
        let address = member.meta.addresses.first()?.ip();
        let pod_cidr = *ranges.get(&*node.0)?;
        (&*node.0 != me && member.life != Life::Left).then(|| PeerRoute { node: node.to_string(), address, pod_cidr })
    };
    Ok(view.members.iter().filter_map(route).collect())
}
