//! The cluster's authority as an actor: lets nodes in, renews their certificates, removes them. It answers on the node
//! that has the authority's key; the others find it through [`super::desk`].
//!
//! Rooms: `admission` one join from its request to its answer; `leaving` the way out; `renumber` a new replica
//! for a node; `rotation` one authority after the
//! other.

mod admission;
mod leaving;
mod renumber;
pub mod rotation;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::desk::{Ask, AuthorityCalls, Told};
use super::ledger::Ledger;
use crate::actors::control::seat::Seat;
use crate::actors::mirror::Mirror;
use crate::kube::status::Status;
use crate::mesh::address::Refusal;
use crate::mesh::exports::Handler;
use crate::mesh::identity::{Authority, Identity, Lifetimes, LiveIdentity, NodeRequest, Subject};
use crate::mesh::join::{JoinAnswer, Network, encode};
use crate::mesh::member::SharedView;
use crate::model::{Cidr, NodeId};
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
    seat: Arc<Seat>,
    entrusted: Arc<AtomicBool>,
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
    /// Whether every voter that answers holds the keys of today.
    pub entrusted: Arc<AtomicBool>,
    /// The office's placement.
    pub seat: Arc<Seat>,
}

impl Office {
    /// An office with the keys of `identity`.
    pub fn new(identity: Arc<Mutex<Identity>>, live: LiveIdentity, doors: Doors, terms: Terms) -> Arc<Self> {
        let Doors { ledger, mirror, store, view, world, entrusted, seat } = doors;
        Arc::new(Self {
            identity,
            live,
            ledger: ledger.seated(seat.clone()),
            seat,
            mirror,
            store,
            view,
            world,
            terms,
            entrusted,
            turn: tokio::sync::Mutex::new(()),
            waiting: tokio::sync::Semaphore::new(MAX_WAITING),
        })
    }

    /// Whether the authority's key is on this node.
    pub fn holds_key(&self) -> bool {
        self.identity.lock().authority().is_some()
    }

    /// Whether it is this office that answers: its node leads, and its Lease says so.
    pub fn is_open(&self) -> bool {
        self.store.leads() && self.seat.fence().is_some()
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
        let signed =
            self.authority()?.sign_node(&request.csr_pem, &subject, self.terms.lifetimes.node, self.world.clock.now());
        let chain_pem = signed.map_err(|error| Refusal::Failed(error.to_string()))?;
        Ok(Told::Renewed { chain_pem, authorities_pem: self.live.bundle().pem() })
    }

    /// What it is doing, for `shoal status`.
    fn note(&self, ask: &Ask, from: &NodeId) {
        let what = match ask {
            Ask::Join(_) => format!("a join through {from}"),
            Ask::Renew(_) => format!("a certificate for {from}"),
            Ask::Remove(node) => format!("the removal of {node}"),
            Ask::Rotate => "a new authority".to_owned(),
            Ask::Renumber => format!("a new replica for {from}"),
        };
        self.seat.report().did(self.world.clock.now(), what);
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
        if !self.is_open() {
            return Err(Refusal::Busy); // whoever asks looks for the leader again
        }
        self.note(&ask, from);
        let queue = || self.seat.report().waits(MAX_WAITING - self.waiting.available_permits());
        queue();
        let told = self.answer(from, ask).await;
        queue();
        told
    }
}

impl Office {
    async fn answer(&self, from: &NodeId, ask: Ask) -> Result<Told, Refusal> {
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
            Ask::Remove(node) => self.part(from, &node).await,
            Ask::Rotate => self.rotate().await,
            Ask::Renumber => self.renumber(from).await,
        }
    }
}

fn refused(status: Status) -> Refusal {
    Refusal::Failed(status.message)
}
