//! Whether the quorum still hears this node, asked for as long as there is a pod here that must not run twice.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use ractor::ActorRef;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::Message;
use super::parts::Parts;
use crate::kube::object::Object;
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::fencing::{self, Silence};
use crate::store::mutant::mutant;

/// Wait between two questions; one question a node, however many pods want to know.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long an answer is waited for before the question is asked anew.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// How often pods are judged meanwhile.
const JUDGE_EVERY: Duration = Duration::from_millis(100);

/// What is known of the quorum.
pub struct Fence {
    since: Instant,
    /// When the last question was asked that was answered.
    heard: Arc<Mutex<Option<Instant>>>,
    asking: Option<AbortHandle>,
}

impl Fence {
    /// Nothing is asked yet.
    pub fn new() -> Self {
        Self { since: Instant::now(), heard: Arc::default(), asking: None }
    }

    /// Asks from now on, or no more. What is not asked for is forgotten: the quorum has not answered since then.
    pub fn ask(&mut self, wanted: bool, parts: &Parts, agent: &ActorRef<Message>, tasks: &mut JoinSet<()>) {
        match (&self.asking, wanted) {
            (None, true) => {
                *self = Self::new();
                let (parts, heard, agent) = (parts.clone(), self.heard.clone(), agent.clone());
                self.asking = Some(tasks.spawn(async move {
                    tokio::join!(ask(&parts, &heard, &agent), remind(&agent));
                }));
            }
            (Some(asking), false) => {
                asking.abort();
                *self = Self::new();
            }
            _ => {}
        }
    }

    /// For how long the quorum has been silent.
    pub fn silence(&self) -> Silence {
        let heard = *self.heard.lock();
        if mutant("hear-the-quorum-always") {
            return Silence::For(Duration::ZERO);
        }
        if mutant("stop-too-late") {
            return heard.map_or(Silence::Never(Duration::ZERO), |at| Silence::For(at.elapsed() / 2));
        }
        heard.map_or_else(|| Silence::Never(self.since.elapsed()), |at| Silence::For(at.elapsed()))
    }
}

async fn ask(parts: &Parts, heard: &Mutex<Option<Instant>>, agent: &ActorRef<Message>) {
    loop {
        let asked = Instant::now();
        if timeout(ANSWER_WITHIN, parts.quorum.answers()).await == Ok(true) && stands(parts) {
            let first = heard.lock().replace(asked).is_none();
            if first && agent.cast(Message::Judge).is_err() {
                return;
            }
        }
        sleep(ASK_EVERY).await;
    }
}

async fn remind(agent: &ActorRef<Message>) {
    while agent.cast(Message::Judge).is_ok() {
        sleep(JUDGE_EVERY).await;
    }
}

/// Whether the node is not declared dead, by what is here now: as long as it is, its pods may be replaced, whoever
/// answers. One that has no object is not registered yet, or was removed.
fn stands(parts: &Parts) -> bool {
    let key = ObjectKey::new(id::NODES, "", &parts.node.name);
    let Some(record) = parts.objects.get(&key) else { return false };
    let object = Object::new(key, record.modified, record.value.clone());
    object.and_then(|object| object.view::<Node>()).is_ok_and(|node| !fencing::is_declared(&node))
}
