//! Keeps the quorum and the placements of control actors, on the node that leads; what to do is `plan::quorum`'s and
//! `plan::placement`'s to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use ractor::ActorProcessingErr;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::ledger::{LEAVING, Ledger};
use crate::actors::control::report::Report;
use crate::actors::mirror::Mirror;
use crate::actors::service::Service as Task;
use crate::actors::supervisor::Child;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::handle::Mesh;
use crate::mesh::identity::Held;
use crate::mesh::member::{Life, View};
use crate::model::{NodeId, ObjectKey, Revision};
use crate::plan::Command;
use crate::plan::placement::{self, Home};
use crate::plan::quorum::{self, Health, Replica, Step, Terms};
use crate::store::mutant::mutant;
use crate::store::raft::Standing;
use crate::store::{Fence, Store};
use crate::world::World;

/// How often a voter looks, beside every change of the members.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same for others, who only watch whether they have become voters.
const LOOK_IDLE: Duration = Duration::from_secs(1);
/// Bound on one look: a write may wait for a quorum that is not there.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// A voter whose keys are not known to be the present ones is given them this often.
const GIVE_EVERY: Duration = Duration::from_secs(1);

/// Who may hold the authority's key.
#[async_trait]
pub trait Trustees: Send + Sync + 'static {
    /// The keys that this node holds.
    fn held(&self) -> Option<Held>;

    /// Gives this node's keys to another; answers what that holds now, or why it could not be given.
    async fn give(&self, node: &str) -> Result<Held, String>;

    /// Forgets the keys: this node votes no more.
    fn dismiss(&self);
}

/// What keeping takes. Clones share it.
#[derive(Clone)]
pub struct Keeper {
    /// Replicas.
    pub store: Store,
    /// Members, and what this node tells of itself.
    pub mesh: Mesh,
    /// Placements.
    pub mirror: Arc<Mirror>,
    /// Who is about to leave; writes.
    pub ledger: Ledger,
    /// The authority's key.
    pub trustees: Arc<dyn Trustees>,
    /// Clock.
    pub world: World,
    /// How many vote, and how soon one is replaced.
    pub terms: Terms,
    /// Every planner among the control actors.
    pub actors: Arc<BTreeSet<&'static str>>,
    /// Where this says what it does.
    pub report: Arc<Report>,
    /// What this node knows while it leads.
    pub tenure: Arc<Mutex<Tenure>>,
    /// Whether every voter that answers holds the keys of today: what is signed with them outlives this leader.
    pub entrusted: Arc<AtomicBool>,
}

/// What a leader knows beyond the log.
#[derive(Debug, Default)]
pub struct Tenure {
    /// Since when it leads.
    since: Option<Instant>,
    /// Which replicas are known to hold which keys.
    entrusted: BTreeMap<u64, Held>,
    /// When keys were last given.
    gave: Option<Instant>,
    /// Whether this node has voted.
    voted: bool,
}

impl Keeper {
    /// The child `keeper` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("keeper", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(self) -> Result<(), ActorProcessingErr> {
        let mut view = self.mesh.view();
        self.mirror.reached(Revision(1)).await;
        loop {
            match timeout(LOOK_WITHIN, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(error = error.message, "the quorum could not be looked after"),
                Err(_) => tracing::warn!("looking after the quorum took too long; trying again"),
            }
            let wait = if self.store.role() == Standing::Learner { LOOK_IDLE } else { LOOK_EVERY };
            if let Ok(Err(_)) = timeout(wait, view.changed()).await {
                return Err("the mesh has ended".into());
            }
        }
    }

    async fn look(&self) -> Result<(), Status> {
        let role = self.store.role();
        self.tell(role);
        if role != Standing::Leader {
            self.rest(role);
            return Ok(());
        }
        if !self.mirror.is_filled() {
            return Ok(());
        }
        let since = {
            let mut tenure = self.tenure.lock();
            tenure.voted = true;
            *tenure.since.get_or_insert_with(Instant::now)
        };
        let view = self.mesh.view().borrow().clone();
        let replicas = self.replicas(&view, since)?;
        // Whoever leaves lets another lead first; that one places.
        if !replicas.iter().any(|one| one.leads && one.health == Health::Leaving) {
            self.place(&replicas).await?;
        }
        self.give(&replicas).await;
        match quorum::next(&replicas, &self.terms) {
            Some(step) => self.take(step, &replicas).await,
            None => Ok(()),
        }
    }

    /// Gossip says who votes.
    fn tell(&self, role: Standing) {
        let told = if role == Standing::Learner { "learner" } else { "voter" };
        let view = self.mesh.view();
        let known = view.borrow().members.get(self.mesh.me()).is_some_and(|me| me.meta.role == told);
        if !known {
            self.mesh.tell(|meta| meta.role = told.into());
        }
    }

    /// Whoever does not lead forgets what only a leader knows; whoever voted and votes no more, the authority's key. It
    /// comes before the vote: a learner that has it may be about to vote.
    fn rest(&self, role: Standing) {
        let voted = {
            let mut tenure = self.tenure.lock();
            let voted = tenure.voted && role == Standing::Learner && self.knows_itself();
            *tenure = Tenure { voted: (tenure.voted || role != Standing::Learner) && !voted, ..Tenure::default() };
            voted
        };
        // After a recovery nobody else may have it.
        if voted && self.store.recoveries() == 0 {
            self.trustees.dismiss();
        }
    }

    /// Whether the log's membership has this node, as a learner, beside a leader that is known: it was not only cut off.
    fn knows_itself(&self) -> bool {
        let me = self.store.raft_id();
        self.store.leader().is_some()
            && self.store.members().iter().any(|one| one.raft_id == me && one.standing == Standing::Learner)
    }

    fn replicas(&self, view: &View, since: Instant) -> Result<Vec<Replica>, Status> {
        let leaving = self.ledger.read(id::CONFIG_MAPS, LEAVING)?.map(|page| page.entries).unwrap_or_default();
        let tenure = self.tenure.lock();
        let held = self.trustees.held();
        let replica = |one: crate::store::raft::Replica| {
            let member = view.members.get(&NodeId(one.node.as_str().into()));
            let silent = |from| Health::Silent(self.world.clock.now().since(from));
            let health = match member.map(|member| (member.life, member.since)) {
                _ if leaving.contains_key(&one.node) => Health::Leaving,
                _ if *view.me.0 == *one.node => Health::Well,
                Some((Life::Alive, _)) => Health::Well,
                Some((_, from)) => silent(from),
                None => Health::Silent(since.elapsed()),
            };
            let mine = one.raft_id == self.store.raft_id();
            Replica {
                id: one.raft_id,
                votes: one.standing != Standing::Learner,
                leads: mine,
                entrusted: mine || (held.is_some() && tenure.entrusted.get(&one.raft_id).copied() == held),
                lag: one.lag.unwrap_or(u64::MAX),
                zone: member.map(|member| member.meta.zone.clone()).unwrap_or_default(),
                node: one.node,
                health,
            }
        };
        Ok(self.store.members().into_iter().map(replica).collect())
    }

    async fn take(&self, step: Step, replicas: &[Replica]) -> Result<(), Status> {
        let node = |id: u64| replicas.iter().find(|one| one.id == id).map(|one| one.node.clone()).unwrap_or_default();
        let failed = |error: crate::store::Error| Status::internal(error.to_string());
        match step {
            Step::Entrust(id) => {
                self.entrust(id, &node(id)).await;
                Ok(())
            }
            Step::Vote(voters) => {
                let nodes: Vec<String> = voters.iter().map(|id| node(*id)).collect();
                tracing::info!(?nodes, "these nodes vote from now on");
                self.did(format!("lets {} vote", nodes.join(", ")));
                // Newcomers are given the keys once more: they may have lost them since.
                let old = replicas.iter().filter(|one| one.votes && voters.contains(&one.id)).map(|one| one.id);
                let old: BTreeSet<u64> = old.collect();
                self.tenure.lock().entrusted.retain(|id, _| old.contains(id));
                self.store.set_voters(voters).await.map_err(failed)
            }
            Step::HandOver(id) => {
                tracing::info!(replica = id, node = node(id), "another node leads from now on");
                self.store.hand_over(id).await.map_err(failed)
            }
        }
    }

    fn did(&self, what: String) {
        self.report.did(self.world.clock.now(), what);
    }

    async fn entrust(&self, id: u64, node: &str) {
        match self.trustees.give(node).await {
            Ok(held) => drop(self.tenure.lock().entrusted.insert(id, held)),
            Err(error) => tracing::warn!(node, error, "the authority's key could not be given"),
        }
    }

    /// Voters get the keys again where they may have others: this leader is new, or the keys are.
    async fn give(&self, replicas: &[Replica]) {
        let lacking: Vec<&Replica> =
            replicas.iter().filter(|one| one.votes && !one.entrusted && one.health == Health::Well).collect();
        self.entrusted.store(lacking.is_empty(), Ordering::Relaxed);
        let recently = self.tenure.lock().gave.is_some_and(|at| at.elapsed() < GIVE_EVERY);
        if lacking.is_empty() || recently || self.trustees.held().is_none() {
            return;
        }
        self.tenure.lock().gave = Some(Instant::now());
        futures::future::join_all(lacking.iter().map(|one| self.entrust(one.id, &one.node))).await;
    }

    /// Moves control actors whose nodes do not answer, and spreads the others.
    async fn place(&self, replicas: &[Replica]) -> Result<(), Status> {
        let voters = replicas.iter().filter(|one| one.votes);
        let home = |one: &Replica| Home { node: one.node.clone(), well: one.health == Health::Well, leads: one.leads };
        let homes: Vec<Home> = voters.map(home).collect();
        let placed = placement::read(&self.mirror.snapshot().read());
        let placed = placed.map_err(|error| Status::internal(error.to_string()))?;
        let moves = placement::next(&self.actors, &placed, &homes);
        if !moves.is_empty() {
            self.make_room().await?;
        }
        for mut step in moves {
            let known = placed.get(&step.actor);
            if mutant("move-within-an-epoch") {
                step.epoch = known.map_or(step.epoch, |known| known.epoch);
            }
            let fence = Fence { actor: step.actor.clone(), epoch: step.epoch };
            let command = placement::command(&step, known, self.world.clock.now());
            self.ledger.begin_epoch(fence, command).await?;
            let from = known.map_or("nowhere", |known| known.node.as_str());
            tracing::info!(actor = step.actor, from, to = step.to, epoch = step.epoch.0, "a control actor was placed");
            self.did(format!("placed {} on {}", step.actor, step.to));
        }
        // The next look sees what this one did.
        self.mirror.reached(self.store.revision()).await;
        Ok(())
    }

    /// In a new cluster nothing has made the namespace of the Leases: who would is not placed yet.
    async fn make_room(&self) -> Result<(), Status> {
        let home = ObjectKey::new(id::NAMESPACES, "", placement::NAMESPACE);
        if self.mirror.snapshot().read().get(&home).is_some() {
            return Ok(());
        }
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": placement::NAMESPACE } });
        self.ledger.execute(Command::Create { resource: id::NAMESPACES, namespace: String::new(), body }).await
    }
}
