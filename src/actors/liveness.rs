//! What gossip says of nodes' lives: told to planners at once, and declared where this node leads and a node has been
//! silent for long enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use ractor::ActorProcessingErr;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::executor::Executor;
use super::mirror::Mirror;
use super::service::Service as Task;
use super::supervisor::Child;
use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::member::{Life, SharedView, View};
use crate::model::NodeId;
use crate::plan::liveness::doubts::{Doubts, Report};
use crate::plan::liveness::{self, Seen};
use crate::plan::{Command, fencing};
use crate::store::Store;
use crate::world::World;

/// Name that the writes are made under.
const IDENTITY: &str = "system:controller:node-lifecycle";
/// How often is looked, beside every change of the members.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often while somebody is silent.
const LOOK_CLOSELY: Duration = Duration::from_millis(100);
/// Bound on one declaration; one that has not ended by then is made again.
const DECLARE_WITHIN: Duration = Duration::from_secs(1);

/// What declaring takes.
#[derive(Clone)]
pub struct Liveness {
    /// Whether this node holds the pen is the store's to say.
    pub store: Store,
    /// Members.
    pub view: watch::Receiver<SharedView>,
    /// Node objects.
    pub mirror: Arc<Mirror>,
    /// Writes.
    pub executor: Arc<dyn Executor>,
    /// Time.
    pub world: World,
    /// How long a node is silent before its death is decided on.
    pub decide_after: Duration,
    /// How long a node was silent already when gossip began to doubt it.
    pub doubted_after: Duration,
}

/// What is remembered between looks.
struct Memory {
    began: Instant,
    doubts: Doubts,
    told: BTreeSet<String>,
    /// Since when this node leads: what others answered before is not known here.
    leads_since: Option<Instant>,
    /// Who was decided to be dead, and may not be written down.
    condemned: BTreeSet<String>,
}

impl Liveness {
    /// The child `liveness` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("liveness", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(mut self) -> Result<(), ActorProcessingErr> {
        self.store.contacts().acquit_all();
        let mut memory = Memory {
            began: Instant::now(),
            doubts: Doubts::default(),
            told: BTreeSet::new(),
            leads_since: None,
            condemned: BTreeSet::new(),
        };
        loop {
            let view = self.view.borrow_and_update().clone();
            if self.mirror.is_filled() {
                self.look(&view, &mut memory)?;
                if let Err(status) = self.judge(&view, &mut memory).await {
                    tracing::warn!(error = status.message, "a dead node could not be declared; trying again");
                }
            }
            let calm = memory.doubts.is_calm() && memory.condemned.is_empty();
            let wait = if calm { LOOK_EVERY } else { LOOK_CLOSELY };
            if let Ok(Err(_)) = timeout(wait, self.view.changed()).await {
                return Err("the mesh has ended".into());
            }
        }
    }

    /// Takes in what gossip says, and tells planners what of it they should know.
    fn look(&self, view: &View, memory: &mut Memory) -> Result<(), DecodeError> {
        let mut reports = BTreeMap::new();
        for object in self.mirror.snapshot().read().list(id::NODES, None) {
            let name = object.key.name.to_string();
            let life = view.members.get(&NodeId((&*name).into())).map(|member| member.life);
            let doubted = *view.me.0 != *name && matches!(life, Some(Life::Suspect | Life::Dead | Life::Left));
            let declared = fencing::is_declared(&*object.view::<Node>()?);
            reports.insert(name, Report { doubted, declared });
        }
        memory.doubts.look(&reports, memory.began.elapsed());
        let shown = memory.doubts.shown();
        if shown != memory.told {
            tracing::info!(suspected = ?shown, "pods of suspected nodes get no new connections");
            self.mirror.doubt(shown.clone());
            memory.told = shown;
        }
        Ok(())
    }

    async fn judge(&self, view: &View, memory: &mut Memory) -> Result<(), Status> {
        if !self.store.leads() {
            memory.leads_since = None;
            if !std::mem::take(&mut memory.condemned).is_empty() {
                self.store.contacts().acquit_all();
            }
            return Ok(());
        }
        let led = memory.leads_since.get_or_insert_with(Instant::now).elapsed();
        let seen = |name: &str| self.seen(name, view, memory, led);
        let now = self.world.clock.now();
        let commands = liveness::declare(&self.mirror.snapshot().read(), seen, self.decide_after, now)
            .map_err(|error| Status::internal(error.to_string()))?;
        self.pardon(&commands, memory);
        for command in commands {
            self.declare(command, memory).await?;
        }
        Ok(())
    }

    /// What this node knows of `name` after it has led for `led`. Whoever it answered lately is not silent, whatever
    /// gossip says.
    fn seen(&self, name: &str, view: &View, memory: &Memory, led: Duration) -> Seen {
        let unanswered = self.store.contacts().asked(name).map_or(Duration::MAX, |at| at.elapsed()).min(led);
        match memory.doubts.silent_since(name) {
            _ if memory.condemned.contains(name) => Seen::Condemned,
            Some(since) => {
                let silent = memory.began.elapsed().saturating_sub(since) + self.before_doubt(name, view);
                Seen::Silent(silent.min(unanswered))
            }
            None if *view.me.0 == *name || view.members.contains_key(&NodeId(name.into())) => Seen::Alive,
            None => Seen::Unknown(unanswered),
        }
    }

    /// How long it was silent before the first doubt, where gossip does not expect an answer any more.
    fn before_doubt(&self, name: &str, view: &View) -> Duration {
        let life = view.members.get(&NodeId(name.into())).map(|member| member.life);
        if life == Some(Life::Dead) { self.doubted_after } else { Duration::ZERO }
    }

    /// Whoever is condemned and needs no declaration any more is declared already, or removed.
    fn pardon(&self, commands: &[Command], memory: &mut Memory) {
        let open =
            |name: &String| commands.iter().any(|one| matches!(one, Command::Patch { key, .. } if *key.name == **name));
        let (open, done) = std::mem::take(&mut memory.condemned).into_iter().partition(open);
        memory.condemned = open;
        done.iter().for_each(|name| self.store.contacts().acquit(name));
    }

    /// Writes a declaration down. From the decision to its end the node gets no answer from the leader: so whichever it
    /// gets comes before the one and was counted, or after the other and shows it.
    async fn declare(&self, command: Command, memory: &mut Memory) -> Result<(), Status> {
        let Command::Patch { key, .. } = &command else { return Ok(()) };
        let name = key.name.to_string();
        if !self.store.contacts().condemn(&name, self.decide_after, Instant::now()) {
            return Ok(());
        }
        memory.condemned.insert(name.clone());
        tracing::warn!(node = name, "declaring a node dead");
        let written = timeout(DECLARE_WITHIN, self.executor.execute(IDENTITY, 0, command)).await;
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(status)) if status.code == 404 => {}
            Ok(Err(status)) => return Err(status),
            Err(_) => return Err(Status::internal("no end of the write within a second")),
        }
        memory.doubts.declared(&name, memory.began.elapsed());
        memory.condemned.remove(&name);
        self.store.contacts().acquit(&name);
        Ok(())
    }
}
