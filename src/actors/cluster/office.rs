//! The cluster's authority as an actor: lets nodes in, renews their certificates, removes them. It answers on the node
//! that has the authority's key; the others find it through [`super::desk`].
//!
//! Rooms: `admission` one join from its request to its answer; `rotation` one authority after the other.

mod admission;
pub mod rotation;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::desk::{Ask, AuthorityCalls, Told};
use super::ledger::{Entries, Ledger, REVOKED};
use crate::actors::mirror::Mirror;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::address::Refusal;
use crate::mesh::exports::Handler;
use crate::mesh::identity::{Authority, Identity, Lifetimes, LiveIdentity, NodeRequest, Revocations, Subject};
use crate::mesh::join::{JoinAnswer, Network, encode};
use crate::mesh::member::SharedView;
use crate::model::{Cidr, NodeId, ObjectKey};
use crate::plan::joining;
use crate::store::Store;
use crate::world::World;

/// Joins that wait for their turn; more are told to come again.
const MAX_WAITING: usize = 32;
/// How long the mirror may take to show what the log has.
const MIRROR_PATIENCE: Duration = Duration::from_secs(5);

/// What the authority works with.
pub struct Office {
    /// Keys; written to disk by what changes them.
    pub identity: Arc<Mutex<Identity>>,
    /// What this node shows and believes.
    pub live: LiveIdentity,
    /// What the cluster keeps about itself.
    pub ledger: Ledger,
    /// Node objects.
    pub mirror: Arc<Mirror>,
    /// Replicas.
    pub store: Store,
    /// Members.
    pub view: watch::Receiver<SharedView>,
    /// Clock and randomness.
    pub world: World,
    /// What is the same for everybody.
    pub terms: Terms,
    turn: tokio::sync::Mutex<()>,
    waiting: tokio::sync::Semaphore,
}

/// What the authority hands out.
#[derive(Clone)]
pub struct Terms {
    /// This node as its certificate names it.
    pub subject: Subject,
    /// Ranges and names; `pod_cidr` is each node's own.
    pub network: Network,
    /// Addresses of all pods.
    pub cluster_cidr: Cidr,
    /// Bits of a node's part of them.
    pub node_prefix: u8,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
}

/// The doors that an office needs besides its keys.
pub struct Doors {
    /// What the cluster keeps about itself.
    pub ledger: Ledger,
    /// Node objects.
    pub mirror: Arc<Mirror>,
    /// Replicas.
    pub store: Store,
    /// Members.
    pub view: watch::Receiver<SharedView>,
    /// Clock and randomness.
    pub world: World,
}

impl Office {
    /// An office with the keys of `identity`.
    pub fn new(identity: Arc<Mutex<Identity>>, live: LiveIdentity, doors: Doors, terms: Terms) -> Arc<Self> {
        let Doors { ledger, mirror, store, view, world } = doors;
        Arc::new(Self {
            identity,
            live,
            ledger,
            mirror,
            store,
            view,
            world,
            terms,
            turn: tokio::sync::Mutex::new(()),
            waiting: tokio::sync::Semaphore::new(MAX_WAITING),
        })
    }

    fn authority(&self) -> Result<Authority, Refusal> {
        let authority = self.identity.lock().authority().cloned();
        authority.ok_or_else(|| Refusal::Failed("the authority's key is not on this node".into()))
    }

    /// The subject that a node may have: its own name and addresses, and those of the API, which every node serves.
    fn subject(&self, request: &NodeRequest) -> Subject {
        let mut subject = request.subject(&self.terms.network.cluster_domain);
        subject.names = Vec::new();
        subject.addresses.extend(self.terms.network.api_service_ip.parse::<std::net::IpAddr>());
        subject
    }

    fn renew(&self, from: &NodeId, request: &NodeRequest) -> Result<Told, Refusal> {
        if *request.name != *from.0 {
            return Err(Refusal::Forbidden(format!("{from} may not have a certificate of {}", request.name)));
        }
        let subject = self.subject(request);
        let signed = self.authority()?.sign_node(
            &request.csr_pem,
            &subject,
            self.terms.lifetimes.node,
            self.world.clock.now(),
        );
        let chain_pem = signed.map_err(|error| Refusal::Failed(error.to_string()))?;
        Ok(Told::Renewed { chain_pem, authorities_pem: self.live.bundle().pem() })
    }

    /// Removes a node: its certificates count no more, its replica and its object go.
    async fn remove(&self, node: &NodeId) -> Result<Told, Refusal> {
        if *node.0 == self.terms.subject.node {
            return Err(Refusal::Forbidden(format!("{node} is the only voter: without it there is no cluster")));
        }
        let _turn = self.turn.lock().await;
        self.see_everything().await.map_err(refused)?;
        let known = joining::registered(&self.mirror.snapshot().read(), &node.0);
        let known = known.map_err(|error| Refusal::Failed(error.to_string()))?;
        let known = known.ok_or_else(|| Refusal::Failed(format!("there is no node {node}")))?;
        self.refuse_certificates(node).await.map_err(refused)?;
        if let Some(replica) = known.replica {
            self.store.remove(replica).await.map_err(|error| Refusal::Failed(error.to_string()))?;
        }
        self.ledger.remove_key(ObjectKey::new(id::NODES, "", &node.0)).await.map_err(refused)?;
        tracing::info!(%node, "a node was removed from the cluster");
        Ok(Told::Done(format!("node {node} was removed")))
    }

    /// Every certificate that `node` has so far counts no more.
    async fn refuse_certificates(&self, node: &NodeId) -> Result<(), Status> {
        let (now, lifetime) = (self.world.clock.now(), self.terms.lifetimes.node);
        let change = |known: Option<&Entries>| -> Result<Entries, Status> {
            let unreadable = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
            let read = known.map(Revocations::from_data).transpose().map_err(|error| unreadable(&error))?;
            let mut revocations = read.unwrap_or_default().prune(lifetime, now);
            revocations.revoke(node, now).map_err(|error| unreadable(&error))?;
            Ok(revocations.to_data())
        };
        self.ledger.change(id::CONFIG_MAPS, REVOKED, change).await
    }

    /// Waits until the mirror shows everything that was acknowledged.
    async fn see_everything(&self) -> Result<(), Status> {
        let revision = self.ledger.refresh().await?;
        let shown = tokio::time::timeout(MIRROR_PATIENCE, self.mirror.reached(revision)).await;
        shown.map_err(|_| Status::internal("the node's copy of the objects is behind"))
    }
}

#[async_trait]
impl Handler<AuthorityCalls> for Office {
    async fn handle(&self, from: &NodeId, ask: Ask) -> Result<Told, Refusal> {
        if !self.store.leads() {
            return Err(Refusal::Busy); // whoever asks looks for the leader again
        }
        match ask {
            Ask::Join(request) => {
                let answer = match self.admit(&request).await {
                    Ok(admission) => JoinAnswer::Admitted(Box::new(admission)),
                    Err(reason) => {
                        tracing::warn!(%reason, seed = %from, "a node was not let in");
                        JoinAnswer::Refused { reason }
                    }
                };
                let bytes = encode(&answer).map_err(|error| Refusal::Failed(error.to_string()))?;
                Ok(Told::Joined(bytes.into()))
            }
            Ask::Renew(request) => self.renew(from, &request),
            Ask::Remove(node) => self.remove(&node).await,
            Ask::Rotate => self.rotate().await,
        }
    }
}

fn refused(status: Status) -> Refusal {
    Refusal::Failed(status.message)
}
