//! Nodes that go: removed by an administrator at once, or by themselves, and then only after their answer has arrived.

use std::time::Duration;

use super::{Office, refused};
use crate::actors::cluster::desk::Told;
use crate::actors::cluster::ledger::{Entries, LEAVING, REVOKED};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::address::Refusal;
use crate::mesh::identity::Revocations;
use crate::model::{NodeId, ObjectKey, Timestamp};
use crate::plan::joining;

/// How long a node that leaves is still talked to: for its answer and its goodbye.
const GRACE: Duration = Duration::from_secs(1);

/// How long a leader that goes waits for another; less than whoever asks waits.
const STEP_DOWN_WITHIN: Duration = Duration::from_secs(4);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Office {
    /// Takes a node out of the cluster, asked for by `from`.
    pub(super) async fn part(&self, from: &NodeId, node: &NodeId) -> Result<Told, Refusal> {
        if *node.0 == self.terms.subject.node {
            return self.step_down(node).await;
        }
        let _turn = self.turn.lock().await;
        self.see_everything().await.map_err(refused)?;
        if self.is_known(node).map_err(refused)?.is_none() {
            return Err(Refusal::Failed(format!("there is no node {node}")));
        }
        if from == node {
            self.note_leaving(node).await.map_err(refused)?;
            return Ok(Told::Done(format!("node {node} leaves")));
        }
        self.remove(node).await.map_err(refused)?;
        Ok(Told::Done(format!("node {node} was removed")))
    }

    /// Whoever leads lets another node lead before it goes: that one is asked again.
    async fn step_down(&self, node: &NodeId) -> Result<Told, Refusal> {
        let alone = || Refusal::Forbidden(format!("{node} is the only voter, and no other node can vote in its place"));
        if self.store.members().len() < 2 {
            return Err(alone());
        }
        self.note_leaving(node).await.map_err(refused)?;
        let until = tokio::time::Instant::now() + STEP_DOWN_WITHIN;
        while self.store.leads() {
            if tokio::time::Instant::now() >= until {
                self.forget_leaving(&node.0).await.map_err(refused)?;
                return Err(alone());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Refusal::Busy)
    }

    /// Removes those that have left and whose time is over. Gives how long to wait for the next one.
    pub(super) async fn see_off(&self) -> Result<Option<Duration>, Status> {
        let Some(page) = self.ledger.read(id::CONFIG_MAPS, LEAVING)? else { return Ok(None) };
        let now = self.world.clock.now();
        let mut next = None;
        for (name, said) in &page.entries {
            let node = NodeId(name.as_str().into());
            let left = Timestamp::parse(said).map_or(Duration::ZERO, |said| GRACE.saturating_sub(now.since(said)));
            if left.is_zero() {
                self.remove(&node).await?;
                self.forget_leaving(name).await?;
            } else {
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
            }
        }
        Ok(next)
    }

    /// Its certificates count no more, its replica and its object go: the object last, so that whoever sees it gone can
    /// rely on the rest.
    async fn remove(&self, node: &NodeId) -> Result<(), Status> {
        let known = self.is_known(node)?;
        self.refuse_certificates(node, self.world.clock.now()).await?;
        let failed = |error: crate::store::Error| Status::internal(error.to_string());
        if let Some(replica) = known.and_then(|known| known.replica) {
            self.store.remove(replica).await.map_err(failed)?;
        }
        self.ledger.remove_key(ObjectKey::new(id::NODES, "", &node.0)).await?;
        tracing::info!(%node, "a node was removed from the cluster");
        Ok(())
    }

    fn is_known(&self, node: &NodeId) -> Result<Option<joining::Registered>, Status> {
        let known = joining::registered(&self.mirror.snapshot().read(), &node.0);
        known.map_err(|error| Status::internal(error.to_string()))
    }

    async fn note_leaving(&self, node: &NodeId) -> Result<(), Status> {
        let said = self.world.clock.now().rfc3339_micro();
        let change = |known: Option<&Entries>| -> Result<Entries, Status> {
            let mut next = known.cloned().unwrap_or_default();
            next.insert(node.to_string(), said.clone());
            Ok(next)
        };
        self.ledger.change(id::CONFIG_MAPS, LEAVING, change).await
    }

    async fn forget_leaving(&self, name: &str) -> Result<(), Status> {
        let change = |known: Option<&Entries>| -> Result<Entries, Status> {
            let mut next = known.cloned().unwrap_or_default();
            next.remove(name);
            Ok(next)
        };
        self.ledger.change(id::CONFIG_MAPS, LEAVING, change).await
    }

    /// Every certificate of `node` that was made before `now` counts no more.
    pub(super) async fn refuse_certificates(&self, node: &NodeId, now: Timestamp) -> Result<(), Status> {
        let lifetime = self.terms.lifetimes.longest();
        let change = |known: Option<&Entries>| -> Result<Entries, Status> {
            let unreadable = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
            let read = known.map(Revocations::from_data).transpose().map_err(|error| unreadable(&error))?;
            let mut revocations = read.unwrap_or_default().prune(lifetime, now);
            revocations.revoke(node, now).map_err(|error| unreadable(&error))?;
            Ok(revocations.to_data())
        };
        self.ledger.change(id::CONFIG_MAPS, REVOKED, change).await
    }
}
