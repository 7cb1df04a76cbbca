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
use crate::store::raft::Standing;

/// How long a node that leaves is still talked to: for its answer and its goodbye.
const GRACE: Duration = Duration::from_secs(1);

/// How long a node that goes waits for another leader, and for voters without it; less than whoever asks waits.
const STEP_DOWN_WITHIN: Duration = Duration::from_secs(4);
/// How long the next leader waits for a node that led and leaves to ask again, before it sees it off unasked; more than
/// whoever asks waits.
const ASKS_AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Office {
    /// Takes a node out of the cluster, asked for by `from`.
    pub(super) async fn part(&self, from: &NodeId, node: &NodeId) -> Result<Told, Refusal> {
        if *node.0 == self.terms.subject.node {
            return self.step_down(node).await;
        }
        let turn = self.turn.lock().await;
        self.see_everything().await.map_err(refused)?;
        if self.is_known(node).map_err(refused)?.is_none() {
            return Err(Refusal::Failed(format!("there is no node {node}")));
        }
        if from == node {
            self.note_leaving(node, ASKS_AGAIN_WITHIN).await.map_err(refused)?;
            drop(turn);
            return self.let_go(node).await;
        }
        self.remove(node).await.map_err(refused)?;
        Ok(Told::Done(format!("node {node} was removed")))
    }

    /// Lets a node go that asks for it, once it votes no more: should it be away sooner, the rest may be no majority.
    async fn let_go(&self, node: &NodeId) -> Result<Told, Refusal> {
        let votes = || self.store.members().iter().any(|one| *one.node == *node.0 && one.standing != Standing::Learner);
        if !self.until(|| !votes()).await {
            self.forget_leaving(&node.0).await.map_err(refused)?;
            return Err(Refusal::Failed(format!("{node} still votes: no other set of voters could be agreed on")));
        }
        self.note_leaving(node, Duration::ZERO).await.map_err(refused)?;
        Ok(Told::Done(format!("node {node} leaves")))
    }

    /// Waits for what a leader does soon; false where it was not done.
    async fn until(&self, done: impl Fn() -> bool) -> bool {
        let until = tokio::time::Instant::now() + STEP_DOWN_WITHIN;
        while !done() {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Whoever leads lets another node lead before it goes: that one is asked again.
    async fn step_down(&self, node: &NodeId) -> Result<Told, Refusal> {
        let alone = || Refusal::Forbidden(format!("{node} is the only voter, and no other node can vote in its place"));
        if self.store.members().len() < 2 {
            return Err(alone());
        }
        self.note_leaving(node, ASKS_AGAIN_WITHIN).await.map_err(refused)?;
        if self.until(|| !self.store.leads()).await {
            return Err(Refusal::Busy);
        }
        self.forget_leaving(&node.0).await.map_err(refused)?;
        Err(alone())
    }

    /// Removes those that have left and whose time is over; never the node itself, which lets another lead first. Gives how
    /// long to wait for the next one.
    pub(super) async fn see_off(&self) -> Result<Option<Duration>, Status> {
        let Some(page) = self.ledger.read(id::CONFIG_MAPS, LEAVING)? else { return Ok(None) };
        let now = self.world.clock.now();
        let mut next = None;
        for (name, said) in page.entries.iter().filter(|(name, _)| **name != self.terms.subject.node) {
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
        self.refuse_certificates(node, self.world.clock.now()).await?;
        self.remove_replicas(node).await?;
        self.ledger.remove_key(ObjectKey::new(id::NODES, "", &node.0)).await?;
        tracing::info!(%node, "a node was removed from the cluster");
        Ok(())
    }

    /// The log's membership forgets a node: the number that it had there is the membership's to know.
    pub(super) async fn remove_replicas(&self, node: &NodeId) -> Result<(), Status> {
        let members = self.store.members();
        for replica in members.iter().filter(|one| *one.node == *node.0) {
            let removed = self.store.remove(replica.raft_id).await;
            removed.map_err(|error| Status::internal(error.to_string()))?;
        }
        Ok(())
    }

    fn is_known(&self, node: &NodeId) -> Result<Option<joining::Registered>, Status> {
        let known = joining::registered(&self.mirror.snapshot().read(), &node.0);
        known.map_err(|error| Status::internal(error.to_string()))
    }

    /// Writes down that `node` leaves, and is not asked for after `within`.
    async fn note_leaving(&self, node: &NodeId, within: Duration) -> Result<(), Status> {
        let said = (self.world.clock.now() + within).rfc3339_micro();
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
