//! Who supervises what: one supervisor for each pod of this node, started again when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fence::Fence;
use super::orphans::Inventory;
use super::parts::Parts;
use super::pod::{self, PodSupervisor};
use super::{Message, follow, node, orphans};
use crate::actors::tree::{History, Verdict, policy};
use crate::kube::object::Object;
use crate::kube::resource::id;
use crate::plan::fencing::{self, Silence};
use crate::store::watch::Batch;
use crate::store::{Change, ChangeKind};

/// How often the node object is compared with the node.
const SYNC_EVERY: Duration = Duration::from_secs(10);
/// How often what no pod accounts for is looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(5);
/// How often the end of a pod that must not run twice is put off.
const HOLD_EVERY: Duration = Duration::from_millis(500);

/// The agent's memory.
pub struct Roster {
    myself: ActorRef<Message>,
    parts: Parts,
    // By pod uid; bounded by the pods that are bound to the node.
    pods: BTreeMap<String, Entry>,
    by_actor: BTreeMap<ActorId, String>,
    // Pods that are torn down and whose objects still are there (finalizers).
    over: BTreeSet<String>,
    inventory: Option<Inventory>,
    swept: bool,
    tasks: JoinSet<()>,
    fence: Fence,
}

struct Entry {
    object: Arc<Object>,
    gone: bool,
    // How long its node may be declared dead before it is replaced; `None` where it may run twice.
    tolerated: Option<Duration>,
    fenced: fencing::Verdict,
    // When its end was last put off.
    held: Option<Instant>,
    actor: Option<ActorRef<pod::Message>>,
    history: History,
    since: Instant,
    cause: u64,
}

impl Roster {
    /// Takes stock of the node and begins to follow.
    pub async fn start(myself: ActorRef<Message>, parts: Parts) -> Result<Self, ActorProcessingErr> {
        let inventory = Inventory::take(&parts).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::run(parts.clone(), myself.clone()));
        tasks.spawn(tick(myself.clone()));
        Ok(Self {
            myself,
            parts,
            pods: BTreeMap::new(),
            by_actor: BTreeMap::new(),
            over: BTreeSet::new(),
            inventory: Some(inventory),
            swept: false,
            tasks,
            fence: Fence::new(),
        })
    }

    /// Forgets tasks that have ended.
    pub fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    /// Every pod of this node: new ones are started, those that are missing are gone.
    pub async fn listed(&mut self, pods: Vec<Arc<Object>>) -> Result<(), ActorProcessingErr> {
        let present: BTreeSet<String> = pods.iter().map(|pod| pod.uid().to_owned()).collect();
        let missing: Vec<String> = self.pods.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
        for uid in missing {
            self.gone(&uid);
        }
        self.over.retain(|uid| present.contains(uid));
        for pod in pods {
            self.seen(pod, 0).await?;
        }
        self.inventory = None;
        if !std::mem::replace(&mut self.swept, true) {
            self.sweep();
        }
        Ok(())
    }

    /// Changes, in order.
    pub async fn changed(&mut self, batch: &Batch) -> Result<(), ActorProcessingErr> {
        for change in &batch.changes {
            self.change(change).await?;
        }
        Ok(())
    }

    async fn change(&mut self, change: &Change) -> Result<(), ActorProcessingErr> {
        let key = &change.record.key;
        if key.is(id::PODS) {
            let Some(pod) = follow::mine(&self.parts, &change.record) else { return Ok(()) };
            if change.kind == ChangeKind::Deleted {
                self.gone(pod.uid());
                return Ok(());
            }
            return self.seen(pod, change.cause).await;
        }
        if key.is(id::NODES) {
            // Deleted, or declared dead while it lives: the node says what is true.
            if *key.name == *self.parts.node.name {
                self.sync_node();
            }
            return Ok(());
        }
        // A batch brings whatever was committed together; pods are made from these two.
        if !key.is(id::CONFIG_MAPS) && !key.is(id::SECRETS) {
            return Ok(());
        }
        for entry in self.pods.values().filter(|entry| entry.object.key.namespace == key.namespace) {
            if let Some(actor) = &entry.actor {
                let _ = actor.cast(pod::Message::Refresh(key.clone()));
            }
        }
        Ok(())
    }

    async fn seen(&mut self, object: Arc<Object>, cause: u64) -> Result<(), ActorProcessingErr> {
        let uid = object.uid().to_owned();
        if self.over.contains(&uid) {
            return Ok(());
        }
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.object = Arc::clone(&object);
            entry.tolerated = tolerated(&object);
            if let Some(actor) = &entry.actor {
                let _ = actor.cast(pod::Message::Changed(object));
            }
            self.judge();
            return Ok(());
        }
        let entry = Entry {
            tolerated: tolerated(&object),
            object,
            gone: false,
            fenced: fencing::Verdict::Run,
            held: None,
            actor: None,
            history: History::default(),
            since: Instant::now(),
            cause,
        };
        self.pods.insert(uid.clone(), entry);
        self.judge();
        self.supervise(&uid).await
    }

    fn gone(&mut self, uid: &str) {
        self.over.remove(uid);
        let Some(entry) = self.pods.get_mut(uid) else { return };
        entry.gone = true;
        if let Some(actor) = &entry.actor {
            let _ = actor.cast(pod::Message::Gone);
        }
    }

    /// Judges the pods that must not run twice, by how long the quorum has been silent. Nobody is asked where there is
    /// none.
    pub fn judge(&mut self) {
        let wanted = self.pods.values().any(|entry| entry.tolerated.is_some());
        self.fence.ask(wanted, &self.parts, &self.myself, &mut self.tasks);
        let silence = self.fence.silence();
        for entry in self.pods.values_mut() {
            let verdict = fencing::judge(entry.tolerated, silence, self.parts.node.decide_after);
            if std::mem::replace(&mut entry.fenced, verdict) != verdict
                && let Some(actor) = &entry.actor
            {
                let _ = actor.cast(pod::Message::Fence(verdict));
            }
        }
        self.hold(silence);
    }

    /// Puts off the end of the pods that must not run twice: should this process die or stand still, the runtime ends them
    /// in time.
    fn hold(&mut self, silence: Silence) {
        for (uid, entry) in &mut self.pods {
            let due = entry.held.is_none_or(|at| at.elapsed() >= HOLD_EVERY) && entry.fenced == fencing::Verdict::Run;
            let within = match (entry.tolerated, silence) {
                (Some(tolerated), Silence::For(silence)) if due => {
                    Some(fencing::left(tolerated, silence, self.parts.node.decide_after))
                }
                (None, _) if entry.held.is_some() => None,
                _ => continue,
            };
            entry.held = within.map(|_| Instant::now());
            let (runtime, uid) = (self.parts.runtime.clone(), uid.clone());
            self.tasks.spawn(async move {
                if let Err(error) = runtime.hold(&uid, within).await {
                    tracing::warn!(pod = uid, %error, "the end of a pod that must not run twice could not be put off");
                }
            });
        }
    }

    /// Starts a pod's supervisor again after it failed.
    pub async fn revive(&mut self, uid: &str) -> Result<(), ActorProcessingErr> {
        if self.pods.get(uid).is_none_or(|entry| entry.actor.is_some()) {
            return Ok(());
        }
        self.supervise(uid).await
    }

    async fn supervise(&mut self, uid: &str) -> Result<(), ActorProcessingErr> {
        let fresh = self.pods.get(uid).is_some_and(|entry| entry.history.failures() == 0);
        let taken;
        // A pod that the node has never seen has nothing here: only the first list and a revival take stock.
        let inventory = match &self.inventory {
            Some(inventory) if fresh => inventory,
            None if fresh => &Inventory::default(),
            _ => {
                taken = Inventory::take(&self.parts).await?;
                &taken
            }
        };
        let Some(entry) = self.pods.get_mut(uid) else { return Ok(()) };
        let start = pod::Start {
            parts: self.parts.clone(),
            pod: Arc::clone(&entry.object),
            found: inventory.of(uid),
            sandbox: inventory.sandboxes.contains(uid),
            cause: entry.cause,
            fence: entry.fenced,
        };
        entry.since = Instant::now();
        match Actor::spawn_linked(None, PodSupervisor, start, self.myself.get_cell()).await {
            Ok((actor, _)) => {
                if entry.gone {
                    let _ = actor.cast(pod::Message::Gone);
                }
                self.by_actor.insert(actor.get_id(), uid.to_owned());
                entry.actor = Some(actor);
            }
            Err(error) => self.again(uid, &error.to_string()),
        }
        Ok(())
    }

    /// A supervisor has ended: nothing is left of its pod here.
    pub fn ended(&mut self, actor: ActorId) {
        let Some(uid) = self.by_actor.remove(&actor) else { return };
        let entry = self.pods.remove(&uid);
        if entry.is_some_and(|entry| !entry.gone) {
            self.over.insert(uid);
        }
    }

    /// A supervisor has failed.
    pub fn failed(&mut self, actor: ActorId, reason: &str) {
        let Some(uid) = self.by_actor.remove(&actor) else { return };
        self.again(&uid, reason);
    }

    fn again(&mut self, uid: &str, reason: &str) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        entry.actor = None;
        let Verdict::RestartAfter(wait) = entry.history.failed(policy("agent/pod"), entry.since.elapsed()) else {
            return;
        };
        tracing::error!(pod = %entry.object.key, reason, wait_ms = wait.as_millis(), "a pod's supervisor failed");
        let (myself, uid) = (self.myself.clone(), uid.to_owned());
        self.tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = myself.cast(Message::Revive(uid));
        });
    }

    /// Compares the node object with the node.
    pub fn sync_node(&mut self) {
        let parts = self.parts.clone();
        self.tasks.spawn(async move {
            if let Err(error) = node::sync(&parts).await {
                tracing::warn!(%error, "the node could not be registered; trying again");
            }
        });
    }

    /// Lists what is on the node, once every pod is known.
    pub fn sweep(&mut self) {
        if !self.swept {
            return;
        }
        let (parts, myself) = (self.parts.clone(), self.myself.clone());
        self.tasks.spawn(async move {
            match orphans::present(&parts).await {
                Ok(here) => drop(myself.cast(Message::Present(here))),
                Err(error) => tracing::warn!(%error, "what is on the node could not be listed"),
            }
        });
    }

    /// Removes what is on the node and belongs to no pod. Listed before it is compared: a pod that has come since is
    /// not taken for a stray.
    pub fn present(&mut self, mut here: BTreeSet<String>) {
        here.retain(|uid| !self.pods.contains_key(uid));
        let parts = self.parts.clone();
        self.tasks.spawn(async move { orphans::remove(&parts, &here).await });
    }
}

/// A pod that cannot be read is taken for one that must not run twice.
fn tolerated(pod: &Object) -> Option<Duration> {
    fencing::tolerated(pod).unwrap_or(Some(Duration::ZERO))
}

/// Reminds the agent of the node object: often until it is there, then now and then.
async fn tick(agent: ActorRef<Message>) {
    let mut wait = Duration::from_millis(100);
    let mut swept = Instant::now();
    while agent.cast(Message::SyncNode).is_ok() {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(SYNC_EVERY);
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            let _ = agent.cast(Message::Sweep);
        }
    }
}
