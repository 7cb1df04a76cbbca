//! The control actors that the quorum placed on this node: started, stopped and restarted as the Leases in the mirror
//! say. Each writes under its Lease's epoch.
//!
//! Whoever sees its Lease in the mirror has seen everything that was written under older epochs, and the store takes
//! nothing of these any more: no second look is needed before the first plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use super::report::Board;
use super::seat::Seat;
use super::{Control, ControlActor, Metrics};
use crate::actors::executor::{Executor, Fenced};
use crate::actors::mirror::{Inbox, Mirror};
use crate::actors::supervisor::Child;
use crate::actors::tree::{History, Verdict, policy};
use crate::api::registry::Registry;
use crate::kube::object::DecodeError;
use crate::model::Epoch;
use crate::plan::{Controller, placement};
use crate::store::Fence;
use crate::world::World;

/// Name in the tree, and of the writes about placements.
pub const NAME: &str = "control";
const IDENTITY: &str = "system:controller:placement";

/// What hosting takes.
pub struct Parts {
    /// This node.
    pub node: String,
    /// Every control actor that may be placed here.
    pub controllers: Vec<Arc<dyn Controller>>,
    /// Those that are no planners.
    pub seats: Vec<Arc<Seat>>,
    /// Where the Leases are seen.
    pub mirror: Arc<Mirror>,
    /// Writes.
    pub registry: Arc<Registry>,
    /// Clock and randomness.
    pub world: World,
    /// Counters.
    pub metrics: Metrics,
    /// What runs here, for whoever asks.
    pub board: Board,
}

/// The actor.
pub struct Host;

/// What a host is told.
pub enum Message {
    /// Something in the mirror has changed.
    Changed,
    /// Start an actor (again), where it is still placed here under this epoch.
    Start(String, Epoch),
}

/// What a host keeps.
pub struct State {
    parts: Arc<Parts>,
    inbox: Arc<Inbox>,
    actors: BTreeMap<String, Hosted>,
}

/// An actor that is placed here.
struct Hosted {
    epoch: Epoch,
    cell: Option<ActorCell>,
    history: History,
    since: Instant,
}

impl Host {
    /// The child `control` of a supervisor.
    pub fn child(parts: Arc<Parts>) -> Child {
        let start = move |parent| {
            let parts = Arc::clone(&parts);
            async move { Ok(Actor::spawn_linked(None, Self, parts, parent).await?.0.get_cell()) }.boxed()
        };
        Child { name: NAME.into(), start: Box::new(start) }
    }
}

impl Actor for Host {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<Parts>;

    async fn pre_start(&self, myself: ActorRef<Message>, parts: Arc<Parts>) -> Result<State, ActorProcessingErr> {
        let inbox = parts.mirror.subscribe(move || {
            let _ = myself.cast(Message::Changed);
        });
        Ok(State { parts, inbox, actors: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Changed => state.follow(&myself).await?,
            Message::Start(actor, epoch) => state.start(&actor, epoch, &myself).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => state.failed(&cell, &error.to_string(), &myself).await,
            SupervisionEvent::ActorTerminated(cell, _, _) => state.failed(&cell, "it ended", &myself).await,
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let names: Vec<String> = state.actors.keys().cloned().collect();
        names.iter().for_each(|actor| state.stop(actor));
        Ok(())
    }
}

impl State {
    /// Makes what runs here what the Leases say.
    async fn follow(&mut self, myself: &ActorRef<Message>) -> Result<(), DecodeError> {
        let changes = self.inbox.take();
        let of_leases =
            changes.everything || changes.objects.iter().any(|noted| placement::is_placement(&noted.object));
        if !of_leases || !self.parts.mirror.is_filled() {
            return Ok(());
        }
        let here = self.placed_here()?;
        let gone: Vec<String> = self
            .actors
            .iter()
            .filter(|(actor, hosted)| here.get(*actor) != Some(&hosted.epoch))
            .map(|(actor, _)| actor.clone())
            .collect();
        gone.iter().for_each(|actor| self.stop(actor));
        for (actor, epoch) in here {
            if !self.actors.contains_key(&actor) {
                let hosted = Hosted { epoch, cell: None, history: History::default(), since: Instant::now() };
                self.actors.insert(actor.clone(), hosted);
                self.start(&actor, epoch, myself).await;
            }
        }
        Ok(())
    }

    fn placed_here(&self) -> Result<BTreeMap<String, Epoch>, DecodeError> {
        let placed = placement::read(&self.parts.mirror.snapshot().read())?;
        let here = placed.into_iter().filter(|(_, placed)| placed.node == self.parts.node);
        Ok(here.map(|(actor, placed)| (actor, placed.epoch)).collect())
    }

    /// Ends an actor at once: whatever it has under way is refused by its epoch.
    fn stop(&mut self, actor: &str) {
        let Some(hosted) = self.actors.remove(actor) else { return };
        tracing::info!(actor, epoch = hosted.epoch.0, "a control actor is no longer placed here");
        self.parts.board.remove(actor);
        if let Some(seat) = self.parts.seat(actor) {
            seat.leave();
        }
        if let Some(cell) = hosted.cell {
            cell.kill();
        }
    }

    async fn start(&mut self, actor: &str, epoch: Epoch, myself: &ActorRef<Message>) {
        let Some(hosted) = self.actors.get_mut(actor).filter(|hosted| hosted.epoch == epoch) else { return };
        if let Some(seat) = self.parts.seat(actor) {
            tracing::info!(actor, epoch = epoch.0, "a control actor is at work");
            self.parts.board.put(actor, epoch, 0, seat.report().clone());
            return seat.take(epoch);
        }
        let Some(controller) = self.parts.controllers.iter().find(|one| one.name() == actor) else {
            tracing::warn!(actor, "this release knows no such control actor");
            return;
        };
        let executor = self.parts.executor(actor, epoch);
        let Parts { mirror, world, metrics, board, .. } = &*self.parts;
        let control = Control::new(Arc::clone(controller), mirror.clone(), executor, world.clone(), metrics.clone());
        board.put(actor, epoch, hosted.history.failures(), control.report());
        hosted.since = Instant::now();
        match Actor::spawn_linked(None, ControlActor, control, myself.get_cell()).await {
            Ok((cell, _)) => {
                tracing::info!(actor, epoch = epoch.0, "a control actor is at work");
                hosted.cell = Some(cell.get_cell());
            }
            Err(error) => self.again(actor, &error.to_string(), myself).await,
        }
    }

    async fn failed(&mut self, cell: &ActorCell, reason: &str, myself: &ActorRef<Message>) {
        let is_it = |hosted: &Hosted| hosted.cell.as_ref().is_some_and(|own| own.get_id() == cell.get_id());
        let found = self.actors.iter().find(|(_, hosted)| is_it(hosted)).map(|(actor, _)| actor.clone());
        if let Some(actor) = found {
            self.again(&actor, reason, myself).await;
        }
    }

    /// Restarts an actor in place after a while, and tells the quorum how often that was needed.
    async fn again(&mut self, actor: &str, reason: &str, myself: &ActorRef<Message>) {
        let Some(hosted) = self.actors.get_mut(actor) else { return };
        hosted.cell = None;
        let wait = match hosted.history.failed(policy("control/*"), hosted.since.elapsed()) {
            Verdict::RestartAfter(wait) => wait,
            Verdict::End => Duration::from_secs(10),
        };
        let (epoch, failures) = (hosted.epoch, hosted.history.failures());
        tracing::error!(actor, reason, failures, wait_ms = wait.as_millis(), "a control actor failed; restarting it");
        let name = actor.to_owned();
        myself.send_after(wait, move || Message::Start(name, epoch));
        if failures >= placement::MAX_CRASHES {
            let note = placement::note(actor, placement::CRASHES, Some(failures.to_string()));
            let told = self.parts.executor(actor, epoch).execute(IDENTITY, 0, note).await;
            if let Err(status) = told {
                tracing::warn!(actor, error = status.message, "its failures could not be told");
            }
        }
    }
}

impl Parts {
    fn seat(&self, actor: &str) -> Option<&Arc<Seat>> {
        self.seats.iter().find(|seat| seat.actor() == actor)
    }

    fn executor(&self, actor: &str, epoch: Epoch) -> Arc<dyn Executor> {
        Arc::new(Fenced { registry: self.registry.clone(), fence: Fence { actor: actor.into(), epoch } })
    }
}

/// Tells others what runs here.
#[async_trait]
impl crate::mesh::exports::Handler<super::report::Reports> for Board {
    async fn handle(
        &self,
        _: &crate::model::NodeId,
        (): (),
    ) -> Result<Vec<super::report::Row>, crate::mesh::address::Refusal> {
        Ok(self.rows())
    }
}
