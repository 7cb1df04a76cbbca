//! A new number for a node whose replica is of no use any more: it was removed while it was away, or its disk lost what it
//! had. Its name, its addresses and its certificate stay.

use super::{Office, refused};
use crate::actors::cluster::desk::Told;
use crate::kube::status::Status;
use crate::mesh::address::Refusal;
use crate::model::NodeId;
use crate::plan::joining;

impl Office {
    /// Takes every replica that `from` had out of the membership and adds it as a learner under a number that was never
    /// used. Who asks has shown a certificate that counts; the register must know it too.
    pub(super) async fn renumber(&self, from: &NodeId) -> Result<Told, Refusal> {
        let _turn = self.turn.lock().await;
        self.see_everything().await.map_err(refused)?;
        let known = joining::registered(&self.mirror.snapshot().read(), &from.0);
        let known = known.map_err(|error| Refusal::Failed(error.to_string()))?;
        let known = known.ok_or_else(|| Refusal::Forbidden(format!("{from} is no node of this cluster")))?;
        let failed = |error: crate::store::Error| refused(Status::internal(error.to_string()));
        for former in self.store.members().into_iter().filter(|replica| *replica.node == *from.0) {
            self.store.remove(former.raft_id).await.map_err(failed)?;
        }
        let raft_id = self.register(from, Some(&known), &known.pod_cidr).await.map_err(refused)?;
        tracing::info!(node = %from, replica = raft_id, "a node's replica was replaced by a new one");
        Ok(Told::Number(raft_id))
    }
}
