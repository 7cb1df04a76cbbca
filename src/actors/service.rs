//! A long task as an actor, so that it stands in the tree: its end is a failure, and stopping the actor ends it.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;

use super::supervisor::Child;

/// Makes the task, at each start.
type MakeTask = Arc<dyn Fn() -> BoxFuture<'static, Result<(), ActorProcessingErr>> + Send + Sync>;

/// The actor.
pub struct Service;

/// What a service tells itself.
pub enum Message {
    /// The task has ended.
    Ended(Result<(), ActorProcessingErr>),
}

/// The running task; ended with the actor.
pub struct State(JoinHandle<()>);

impl Service {
    /// A child that runs the task that `make` makes.
    pub fn child<F>(name: &str, make: impl Fn() -> F + Send + Sync + 'static) -> Child
    where
        F: Future<Output = Result<(), ActorProcessingErr>> + Send + 'static,
    {
        let make: MakeTask = Arc::new(move || make().boxed());
        let start = move |parent| {
            let make = Arc::clone(&make);
            async move { Ok(Actor::spawn_linked(None, Self, make, parent).await?.0.get_cell()) }.boxed()
        };
        Child { name: name.into(), start: Box::new(start) }
    }
}

impl Actor for Service {
    type Msg = Message;
    type State = State;
    type Arguments = MakeTask;

    async fn pre_start(&self, myself: ActorRef<Message>, make: MakeTask) -> Result<State, ActorProcessingErr> {
        let task = make();
        Ok(State(tokio::spawn(async move {
            let result = task.await;
            let _ = myself.cast(Message::Ended(result));
        })))
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        Message::Ended(result): Message,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        result.and_then(|()| Err("the task ended".into()))
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.0.abort();
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.0.abort();
    }
}
