//! Starts children, and starts them again as [`super::tree`] says.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::time::Instant;

use super::tree::{History, Verdict, policy};

/// Starts one child under the given supervisor.
pub type StartChild = Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// A child: its name in [`super::tree::TREE`], and how to start it.
pub struct Child {
    /// E.g. `control/deployment`.
    pub name: String,
    /// Called at start and at each restart.
    pub start: StartChild,
}

/// The actor.
pub struct Supervisor;

/// What a supervisor is told.
pub enum Message {
    /// Start (again) the child with this index.
    Start(usize),
}

/// Its children.
pub struct State {
    children: Vec<Kept>,
    running: BTreeMap<ActorId, usize>,
}

struct Kept {
    child: Child,
    history: History,
    since: Instant,
}

impl Actor for Supervisor {
    type Msg = Message;
    type State = State;
    type Arguments = Vec<Child>;

    async fn pre_start(&self, myself: ActorRef<Message>, children: Vec<Child>) -> Result<State, ActorProcessingErr> {
        let since = Instant::now();
        let kept = children.into_iter().map(|child| Kept { child, history: History::default(), since });
        let mut state = State { children: kept.collect(), running: BTreeMap::new() };
        for index in 0..state.children.len() {
            state.start(index, &myself).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Start(index): Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let Err(error) = state.start(index, &myself).await {
            state.failed(index, &error.to_string(), &myself)?;
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, reason) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor, error.to_string()),
            SupervisionEvent::ActorTerminated(actor, _, reason) => (actor, reason.unwrap_or_else(|| "ended".into())),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        match state.running.remove(&actor.get_id()) {
            Some(index) => state.failed(index, &reason, &myself),
            None => Ok(()),
        }
    }
}

impl State {
    async fn start(&mut self, index: usize, myself: &ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        let Some(kept) = self.children.get_mut(index) else { return Ok(()) };
        let actor = (kept.child.start)(myself.get_cell()).await?;
        kept.since = Instant::now();
        self.running.insert(actor.get_id(), index);
        Ok(())
    }

    fn failed(&mut self, index: usize, reason: &str, myself: &ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        let Some(kept) = self.children.get_mut(index) else { return Ok(()) };
        let name = kept.child.name.as_str();
        match kept.history.failed(policy(name), kept.since.elapsed()) {
            Verdict::RestartAfter(wait) => {
                tracing::error!(child = name, reason, wait_ms = wait.as_millis(), "an actor failed; restarting it");
                myself.send_after(wait, move || Message::Start(index));
                Ok(())
            }
            Verdict::End => {
                tracing::error!(child = name, reason, "an actor failed that the node cannot do without");
                Err(format!("{name} failed: {reason}").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::actors::service::Service;

    fn failing(name: &str, starts: &Arc<AtomicU32>, times: u32) -> Child {
        let starts = Arc::clone(starts);
        Service::child(name, move || {
            let run = starts.fetch_add(1, Ordering::SeqCst);
            async move {
                if run >= times {
                    std::future::pending::<()>().await;
                }
                Err("planted".into())
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_child_is_started_again_and_its_parent_lives() {
        let starts = Arc::new(AtomicU32::new(0));
        let children = vec![failing("mirror", &starts, 3)];
        let (supervisor, task) = Actor::spawn(None, Supervisor, children).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(starts.load(Ordering::SeqCst), 4);
        supervisor.stop(None);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_child_that_the_node_needs_ends_the_node() {
        let starts = Arc::new(AtomicU32::new(0));
        let (_supervisor, task) = Actor::spawn(None, Supervisor, vec![failing("replica", &starts, 1)]).await.unwrap();
        task.await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 1);
    }
}
