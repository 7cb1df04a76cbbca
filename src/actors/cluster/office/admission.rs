//! One join: who asks, with which token, under which name; then a number in the log, addresses for pods, a certificate.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rand::RngCore as _;

use super::Office;
use crate::actors::cluster::ledger::Entries;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::identity::token::{self, TokenError, TokenRecord};
use crate::mesh::identity::{ADMINS_GROUP, NodeRequest, admin_of, is_node_name};
use crate::mesh::join::{Admission, JOIN_PROTOCOL, JoinRefusal, JoinRequest, MAX_PEERS, TokenFault, decode};
use crate::mesh::member::Life;
use crate::mesh::version::{Versions, spoken};
use crate::model::{Cidr, NodeId, Timestamp};
use crate::plan::cidr::next_pod_cidr;
use crate::plan::joining::{self, Registered};

/// What was signed for a node.
struct Signed {
    node_chain_pem: String,
    admin_chain_pem: String,
}

impl Office {
    /// Lets a node in, or says why not. A use of the token counts once everything about the request is sound.
    pub(super) async fn admit(&self, request: &[u8]) -> Result<Admission, JoinRefusal> {
        let _waits = self.waiting.try_acquire().map_err(|_| JoinRefusal::Busy)?;
        let request: JoinRequest = decode(request).map_err(|error| JoinRefusal::Malformed(error.to_string()))?;
        check(&request)?;
        self.understands(request.mesh)?;
        // One at a time: two must not get the same addresses.
        let _turn = self.turn.lock().await;
        self.see_everything().await.map_err(|_| JoinRefusal::NoQuorum)?;
        self.show_token(&request)?;
        let known = self.known(&request.name)?;
        let now = self.world.clock.now();
        let signed = self.sign(&request, now)?;
        let pod_cidr = self.addresses(&request, known.as_ref())?;
        self.use_token(&request).await?;
        let registered = async {
            if known.is_some() {
                self.refuse_certificates(&request.name, now).await?;
            }
            self.register(&request.name, known.as_ref(), &pod_cidr).await
        };
        let raft_id = registered.await.map_err(|status: Status| {
            tracing::error!(error = status.message, node = %request.name, "a node could not be registered");
            JoinRefusal::NoQuorum
        })?;
        tracing::info!(node = %request.name, replica = raft_id, pod_cidr, "a node was let in");
        let mut network = self.terms.network.clone();
        network.pod_cidr = pod_cidr;
        Ok(Admission {
            name: request.name.clone(),
            node_chain_pem: signed.node_chain_pem,
            admin_chain_pem: signed.admin_chain_pem,
            authorities_pem: self.live.bundle().pem(),
            raft_id,
            network,
            peers: self.peers(&request.name),
        })
    }

    /// Whether the members that are there speak what the new node does: one that they do not understand would be a member
    /// in the log that nobody reaches.
    fn understands(&self, asked: Versions) -> Result<(), JoinRefusal> {
        let own = spoken();
        let view = self.view.borrow();
        let others = view.reachable().map(|member| member.meta.protocol).filter(|newest| *newest > 0);
        let newest = others.min().unwrap_or(own.newest).min(own.newest);
        let cluster = Versions { oldest: own.oldest.min(newest), newest };
        if asked.meet(cluster) { Ok(()) } else { Err(JoinRefusal::Mesh(cluster)) }
    }

    /// What is known under the name; a live member has it for itself.
    fn known(&self, name: &NodeId) -> Result<Option<Registered>, JoinRefusal> {
        let view = self.view.borrow();
        let lives = view.members.get(name).is_some_and(|member| matches!(member.life, Life::Alive | Life::Suspect));
        if lives || *name == view.me {
            return Err(JoinRefusal::NameTaken(name.clone()));
        }
        drop(view);
        joining::registered(&self.mirror.snapshot().read(), &name.0).map_err(unreadable)
    }

    /// The token's record as it is now, without a use.
    fn show_token(&self, request: &JoinRequest) -> Result<(), JoinRefusal> {
        let name = request.token.secret_name().ok_or(JoinRefusal::Token(TokenFault::Unknown))?;
        let page = self.ledger.read(id::SECRETS, &name).map_err(|_| JoinRefusal::NoQuorum)?;
        self.after_use(request, page.as_ref().map(|page| &page.entries)).map(drop)
    }

    async fn use_token(&self, request: &JoinRequest) -> Result<(), JoinRefusal> {
        let name = request.token.secret_name().ok_or(JoinRefusal::Token(TokenFault::Unknown))?;
        let change =
            |known: Option<&Entries>| -> Result<Entries, Used> { self.after_use(request, known).map_err(Used) };
        self.ledger.change(id::SECRETS, &name, change).await.map_err(|Used(refusal)| refusal)
    }

    fn after_use(&self, request: &JoinRequest, known: Option<&Entries>) -> Result<Entries, JoinRefusal> {
        let record = known.map(TokenRecord::from_secret_data).transpose();
        let record = record.map_err(|error| JoinRefusal::Malformed(error.to_string()))?;
        let used = token::admit(record.as_ref(), &request.token, self.world.clock.now());
        used.map(|record| record.to_secret_data()).map_err(|error| {
            JoinRefusal::Token(match error {
                TokenError::Expired { .. } => TokenFault::Expired,
                TokenError::Spent => TokenFault::Spent,
                TokenError::Unknown | TokenError::WrongSecret => TokenFault::Unknown,
            })
        })
    }

    fn sign(&self, request: &JoinRequest, now: Timestamp) -> Result<Signed, JoinRefusal> {
        let authority = self.authority().map_err(|_| JoinRefusal::NoQuorum)?;
        let malformed = |error: crate::mesh::identity::SignError| JoinRefusal::Malformed(error.to_string());
        let asked = NodeRequest {
            name: request.name.to_string(),
            names: Vec::new(),
            addresses: request.addresses.iter().map(SocketAddr::ip).collect(),
            csr_pem: request.node_csr_pem.clone(),
        };
        let lifetimes = &self.terms.lifetimes;
        let node = authority.sign_node(&request.node_csr_pem, &self.subject(&asked), lifetimes.node, now);
        let admin_chain_pem = if request.admin_csr_pem.is_empty() {
            String::new()
        } else {
            let user = admin_of(&request.name);
            let admin = authority.sign_client(&request.admin_csr_pem, &user, ADMINS_GROUP, lifetimes.admin, now);
            admin.map_err(malformed)?
        };
        Ok(Signed { node_chain_pem: node.map_err(malformed)?, admin_chain_pem })
    }

    /// Addresses for the node's pods: those it had, else the first that nobody has.
    fn addresses(&self, request: &JoinRequest, known: Option<&Registered>) -> Result<String, JoinRefusal> {
        if let Some(known) = known.filter(|known| !known.pod_cidr.is_empty()) {
            return Ok(known.pod_cidr.clone());
        }
        let snapshot = self.mirror.snapshot().read();
        if joining::count(&snapshot) >= joining::MAX_NODES {
            return Err(JoinRefusal::NoRoom);
        }
        let registered = joining::taken(&snapshot).map_err(unreadable)?;
        let view = self.view.borrow();
        let told = view.members.values().map(|member| member.meta.pod_cidr.clone());
        let taken: BTreeSet<Cidr> = registered.into_iter().chain(told).filter_map(|text| text.parse().ok()).collect();
        let wanted = request.pod_cidr.parse::<Cidr>().ok().filter(|wanted| {
            self.terms.cluster_cidr.covers(*wanted) && taken.iter().all(|other| !other.overlaps(*wanted))
        });
        match wanted {
            Some(wanted) => Ok(wanted.to_string()),
            None => next_pod_cidr(self.terms.cluster_cidr, self.terms.node_prefix, &taken)
                .map(|range| range.to_string())
                .map_err(|_| JoinRefusal::NoRoom),
        }
    }

    /// A number in the log, and the node's object. A node that comes back under its name has a new number.
    pub(super) async fn register(
        &self,
        name: &NodeId,
        known: Option<&Registered>,
        pod_cidr: &str,
    ) -> Result<u64, Status> {
        let raft_id = self.world.entropy.fork().next_u64().max(2);
        let failed = |error: crate::store::Error| Status::internal(error.to_string());
        self.remove_replicas(name).await?;
        self.ledger.execute(joining::register(name.0.as_ref(), known, raft_id, pod_cidr)).await?;
        self.store.add_learner(raft_id, name.0.as_ref()).await.map_err(failed)?;
        Ok(raft_id)
    }

    fn peers(&self, except: &NodeId) -> Vec<(NodeId, Vec<SocketAddr>)> {
        let view = self.view.borrow();
        let others = view.reachable().filter(|member| member.node != *except && !member.meta.addresses.is_empty());
        others.take(MAX_PEERS).map(|member| (member.node.clone(), member.meta.addresses.clone())).collect()
    }
}

/// A refusal, as the ledger's error.
struct Used(JoinRefusal);

impl From<Status> for Used {
    fn from(_: Status) -> Self {
        Self(JoinRefusal::NoQuorum)
    }
}

fn check(request: &JoinRequest) -> Result<(), JoinRefusal> {
    if request.protocol != JOIN_PROTOCOL {
        return Err(JoinRefusal::Protocol { oldest: JOIN_PROTOCOL, newest: JOIN_PROTOCOL });
    }
    if !is_node_name(&request.name.0) {
        return Err(JoinRefusal::Malformed(format!("{:?} cannot name a node", request.name.0)));
    }
    if request.addresses.is_empty() {
        return Err(JoinRefusal::Malformed("it names no address of the node".into()));
    }
    Ok(())
}

fn unreadable(error: crate::kube::object::DecodeError) -> JoinRefusal {
    tracing::error!(%error, "the register of nodes cannot be read");
    JoinRefusal::NoQuorum
}
