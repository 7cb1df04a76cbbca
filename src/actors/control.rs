//! The shell of a controller: marks keys by what changed, plans those that are due, has the commands carried out, and
//! waits until their effects are in the mirror before it plans again.
//!
//! Rooms: `carry` how the commands of one plan are carried out; `host` the controllers that are placed on this node;
//! `report` what they are doing; `seat` the places of those that are no planners.

mod carry;
pub mod host;
pub mod report;
pub mod seat;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use ractor::{Actor, ActorProcessingErr, ActorRef, MessagingErr};
use tokio::task::JoinHandle;

use self::carry::{Carried, Verdict};
use self::report::Report;
use super::executor::Executor;
use super::mirror::{Inbox, Mirror, Noted};
use super::supervisor::Child;
use crate::kube::object::DecodeError;
use crate::plan::pace::Pace;
use crate::plan::queue::{Due, Queue};
use crate::plan::{Controller, Plan};
use crate::world::World;
use crate::world::entropy::Rng;

/// Keys of one controller that are planned from the same snapshot and carried out side by side.
pub const KEYS_AT_ONCE: usize = 32;
/// Longest wait for an acknowledged write to come back through the mirror; after that the key is planned anyway.
pub const MIRROR_PATIENCE: Duration = Duration::from_secs(10);

/// Counters of all controllers, by controller.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Plans made.
    pub reconciles: Family<Vec<(String, String)>, Counter>,
    /// Commands that the API refused.
    pub refusals: Family<Vec<(String, String)>, Counter>,
    /// Keys that stopped because an object could not be decoded.
    pub undecodable: Family<Vec<(String, String)>, Counter>,
}

/// What a control actor works with.
pub struct Control {
    controller: Arc<dyn Controller>,
    /// `system:controller:<name>`.
    identity: String,
    mirror: Arc<Mirror>,
    executor: Arc<dyn Executor>,
    world: World,
    metrics: Metrics,
    report: Arc<Report>,
}

/// The actor. At most one message of each kind waits: what changed is in the inbox, which is bounded.
pub struct ControlActor;

/// What a control actor is told.
#[derive(Debug, Clone, Copy)]
pub enum Message {
    /// The inbox is no longer empty.
    Changed,
    /// A key may be due.
    Tick,
}

/// What a control actor keeps between messages.
pub struct State {
    control: Arc<Control>,
    inbox: Arc<Inbox>,
    queue: Queue,
    pace: Pace,
    rng: Rng,
    timer: Option<JoinHandle<Result<(), MessagingErr<Message>>>>,
}

impl Metrics {
    /// Makes the counters visible.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register("shoal_reconciles", "Plans made, by controller", self.reconciles.clone());
        registry.register("shoal_refused_commands", "Commands that the API refused", self.refusals.clone());
        registry.register(
            "shoal_undecodable_objects",
            "Keys stopped by an unreadable object",
            self.undecodable.clone(),
        );
    }
}

impl Control {
    /// Brings a controller and its surroundings together.
    pub fn new(
        controller: Arc<dyn Controller>,
        mirror: Arc<Mirror>,
        executor: Arc<dyn Executor>,
        world: World,
        metrics: Metrics,
    ) -> Arc<Self> {
        let identity = format!("system:controller:{}", controller.name());
        Arc::new(Self { controller, identity, mirror, executor, world, metrics, report: Arc::default() })
    }

    /// What it is doing.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// The child `control/<name>` of a supervisor.
    pub fn child(self: &Arc<Self>) -> Child {
        let control = Arc::clone(self);
        let name = format!("control/{}", control.controller.name());
        let start = move |parent| {
            let control = Arc::clone(&control);
            async move { Ok(Actor::spawn_linked(None, ControlActor, control, parent).await?.0.get_cell()) }.boxed()
        };
        Child { name, start: Box::new(start) }
    }

    fn count(&self, family: &Family<Vec<(String, String)>, Counter>) {
        family.get_or_create(&vec![("controller".to_owned(), self.controller.name().to_owned())]).inc();
    }
}

impl Actor for ControlActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<Control>;

    async fn pre_start(&self, myself: ActorRef<Message>, control: Arc<Control>) -> Result<State, ActorProcessingErr> {
        let inbox = control.mirror.subscribe(move || {
            let _ = myself.cast(Message::Changed);
        });
        let rng = control.world.entropy.fork();
        Ok(State { control, inbox, queue: Queue::default(), pace: Pace::default(), rng, timer: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(message, Message::Changed) {
            state.look();
        }
        state.round().await;
        state.control.report.waits(state.queue.len());
        state.arm(&myself);
        Ok(())
    }
}

impl State {
    /// Marks the keys that the inbox gives reason for.
    fn look(&mut self) {
        let changes = self.inbox.take();
        if !self.control.mirror.is_filled() {
            return;
        }
        let now = self.control.world.clock.now();
        let snapshot = self.control.mirror.snapshot().read();
        let mut noted = changes.objects;
        if changes.everything {
            noted = snapshot.all().map(|object| Noted { object: Arc::clone(object), cause: 0 }).collect();
            for key in self.control.controller.initial() {
                self.queue.mark(key, 0, now);
            }
        }
        for change in noted {
            for key in self.control.controller.marks(&change.object, &snapshot) {
                self.queue.mark(key, change.cause, now);
            }
        }
    }

    /// Plans keys that are due from one snapshot, and carries the plans out.
    async fn round(&mut self) {
        let limit = self.control.controller.batch().max(KEYS_AT_ONCE);
        let due = self.queue.take_due(self.control.world.clock.now(), limit);
        if due.is_empty() {
            return;
        }
        let plans = self.plan(&due);
        let control = Arc::clone(&self.control);
        let runs = due.into_iter().zip(plans).filter_map(|(due, plan)| self.accept(due, plan)).map(|(due, plan)| {
            let control = Arc::clone(&control);
            async move { carry::carry(&control, due, plan).await }
        });
        let runs: Vec<_> = runs.collect();
        let finished: Vec<Carried> = futures::stream::iter(runs).buffer_unordered(limit).collect().await;
        let newest = finished.iter().map(|carried| carried.revision).max().unwrap_or_default();
        if tokio::time::timeout(MIRROR_PATIENCE, control.mirror.reached(newest)).await.is_err() {
            tracing::warn!(controller = %control.identity, revision = %newest, "the mirror lags behind a write");
        }
        if let Some(carried) = finished.last() {
            self.control.report.did(control.world.clock.now(), format!("{} of {}", carried.said, carried.due.key));
        }
        for carried in finished {
            self.settle(carried);
        }
    }

    fn plan(&mut self, due: &[Due]) -> Vec<Result<Plan, DecodeError>> {
        let keys: Vec<_> = due.iter().map(|due| due.key.clone()).collect();
        let now = self.control.world.clock.now();
        let snapshot = self.control.mirror.snapshot().read();
        self.control.controller.reconcile_batch(&keys, &snapshot, now, &mut self.rng)
    }

    /// Notes when to look again. A key with an unreadable object stops here, until something about it changes.
    fn accept(&mut self, due: Due, plan: Result<Plan, DecodeError>) -> Option<(Due, Plan)> {
        self.control.count(&self.control.metrics.reconciles);
        match plan {
            Ok(plan) => {
                if let Some(delay) = plan.again_after {
                    self.queue.again(due.key.clone(), delay, self.control.world.clock.now());
                }
                if plan.commands.is_empty() {
                    self.queue.succeeded(&due.key);
                    self.pace.forget(&due.key);
                    return None;
                }
                self.in_turn(due, plan)
            }
            Err(error) => {
                self.pace.forget(&due.key);
                self.control.count(&self.control.metrics.undecodable);
                tracing::error!(controller = %self.control.identity, key = %due.key, %error, "stopped reconciling");
                None
            }
        }
    }

    /// Puts off a plan that can wait and whose turn has not come.
    fn in_turn(&mut self, due: Due, plan: Plan) -> Option<(Due, Plan)> {
        let now = self.control.world.clock.now();
        let can_wait = self.control.controller.can_wait(&plan);
        let wait = if can_wait { self.pace.wait(&due.key, now) } else { Duration::ZERO };
        if wait.is_zero() {
            return Some((due, plan));
        }
        self.queue.again(due.key, wait, now);
        None
    }

    fn settle(&mut self, carried: Carried) {
        let now = self.control.world.clock.now();
        match carried.verdict {
            Verdict::Done => self.queue.succeeded(&carried.due.key),
            Verdict::Stale => {
                self.queue.failed(carried.due.key, carried.due.cause, now);
            }
            Verdict::Refused(status) => {
                self.control.count(&self.control.metrics.refusals);
                let key = carried.due.key.clone();
                let wait = self.queue.failed(carried.due.key, carried.due.cause, now);
                tracing::warn!(
                    controller = %self.control.identity, %key, code = status.code, reason = status.reason,
                    message = %status.message, wait_ms = wait.as_millis(), "a command was refused"
                );
            }
        }
    }

    /// Sets the one timer for the next key.
    fn arm(&mut self, myself: &ActorRef<Message>) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        let Some(at) = self.queue.next_due() else { return };
        let wait = at.since(self.control.world.clock.now());
        if wait.is_zero() {
            let _ = myself.cast(Message::Tick);
        } else {
            self.timer = Some(myself.send_after(wait, || Message::Tick));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
    }
}
