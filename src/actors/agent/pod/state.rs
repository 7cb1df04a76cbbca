//! A pod supervisor's memory and its turn: step, begin what it asks for, report what changed, sleep until it is due.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::perform::{self, Site};
use super::report::Reporter;
use super::{Message, Start, WriteFailure};
use crate::actors::agent::parts::Parts;
use crate::kube::object::Object;
use crate::model::{ObjectKey, Revision, Timestamp};
use crate::plan::fencing::Verdict;
use crate::plan::pod::{self, Action, Event, Observed, Outcome, Terminated};
use crate::runtime::{ContainerId, PodAddresses};

/// Bound on steps that only take notes, one after the other; more is a fault of the plan.
const MAX_NOTES: usize = 64;

/// The memory of a supervisor.
pub struct State {
    myself: ActorRef<Message>,
    parts: Parts,
    object: Arc<Object>,
    pod: Arc<Pod>,
    observed: Observed,
    addresses: Option<PodAddresses>,
    reporter: Reporter,
    tasks: JoinSet<()>,
    /// Ends when the events before have been told: what happened later is told later.
    told: oneshot::Receiver<()>,
    alarm: Option<(Timestamp, AbortHandle)>,
    cause: u64,
}

impl State {
    /// The memory of a pod that was just taken, or found again.
    pub fn new(myself: ActorRef<Message>, start: Start) -> Result<Self, ActorProcessingErr> {
        let pod = start.pod.view::<Pod>()?;
        let now = start.parts.clock.now();
        let mut observed = pod::adopt::adopt(&pod, start.found, start.sandbox, now);
        observed.node_ips.clone_from(&start.parts.node.ips);
        observed.fence(start.fence, now);
        Ok(Self {
            myself,
            reporter: Reporter::new(start.pod.revision, pod.status.clone()),
            parts: start.parts,
            object: start.pod,
            pod,
            observed,
            addresses: None,
            tasks: JoinSet::new(),
            told: oneshot::channel().1,
            alarm: None,
            cause: start.cause,
        })
    }

    /// Waits for the end of every container that was found running.
    pub fn watch_running(&mut self) {
        let running: Vec<(String, u32)> = self
            .observed
            .containers
            .iter()
            .filter(|(_, view)| view.is_running())
            .filter_map(|(name, view)| Some((name.clone(), view.current.as_ref()?.attempt)))
            .collect();
        for (container, attempt) in running {
            self.watch(container, attempt);
        }
    }

    /// A newer version of the pod.
    pub fn changed(&mut self, object: Arc<Object>) -> Result<(), ActorProcessingErr> {
        if object.revision > self.object.revision {
            let before = std::mem::replace(&mut self.pod, object.view::<Pod>()?);
            self.object = object;
            self.reporter.seen(self.object.revision);
            if pod::files::tells_of(&before, &self.pod) {
                self.renew_volumes();
            }
        }
        Ok(())
    }

    /// The pod object is gone: nothing is reported any more, everything is taken away.
    pub fn gone(&mut self) {
        self.observed.orphaned = true;
    }

    /// What the node may do with the pod has changed.
    pub fn fence(&mut self, verdict: Verdict) {
        tracing::info!(pod = %self.object.key, ?verdict, "a pod that must not run twice");
        self.observed.fence(verdict, self.parts.clock.now());
    }

    /// A config map or secret has changed: volumes made from it are brought up to date, and what waited for one is tried
    /// again.
    pub fn refresh(&mut self, key: &ObjectKey) {
        self.observed.retry_config();
        if pod::files::refers_to(&self.pod, key) {
            self.renew_volumes();
        }
    }

    /// Brings volumes that were made from objects up to date.
    fn renew_volumes(&mut self) {
        if self.observed.ending_since.is_some() || self.observed.volumes != pod::observed::Part::Present {
            return;
        }
        let site = self.site();
        self.tasks.spawn(async move {
            if let Err(error) = perform::volumes(&site).await {
                tracing::warn!(pod = %site.object.key, %error, "volumes could not be brought up to date");
            }
        });
    }

    /// An action has ended.
    pub fn finished(&mut self, action: &Action, outcome: Outcome) {
        let started = matches!((action, &outcome), (Action::StartContainer { .. }, Outcome::Done));
        let events = self.observed.finished(&self.pod, action, outcome, self.parts.clock.now());
        self.tell(events);
        if let (true, Action::StartContainer { container, attempt }) = (started, action) {
            self.watch(container.clone(), *attempt);
        }
    }

    /// The pod has its addresses.
    pub fn attached(&mut self, addresses: PodAddresses) {
        self.addresses = Some(addresses);
    }

    /// A container has ended.
    pub fn exited(&mut self, container: &str, attempt: u32, end: Terminated) {
        let events = self.observed.exited(container, attempt, end);
        self.tell(events);
    }

    /// The coalescing delay is over.
    pub fn flush(&mut self) {
        self.reporter.due_now();
    }

    /// A status write has ended.
    pub fn written(&mut self, result: Result<Option<Revision>, WriteFailure>) {
        match self.reporter.written(result, self.object.revision) {
            Some(WriteFailure::Gone) => self.gone(),
            Some(WriteFailure::Other(reason)) => {
                tracing::warn!(pod = %self.object.key, reason, "the pod's status could not be written");
                self.after(super::report::RETRY_AFTER, Message::Flush);
            }
            Some(WriteFailure::Conflict) => self.after(super::report::RETRY_AFTER, Message::Flush),
            None => {}
        }
    }

    /// Forgets tasks that have ended.
    pub fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    /// Steps until nothing new is asked for, then reports and sleeps.
    pub fn turn(&mut self) -> Result<(), ActorProcessingErr> {
        for _ in 0..MAX_NOTES {
            let now = self.parts.clock.now();
            let step = pod::step(&self.pod, &self.observed, now);
            self.observed.reported = Some(step.status);
            if step.done {
                self.myself.stop(None);
                return Ok(());
            }
            let noted = step.actions.iter().any(Action::is_note);
            for action in step.actions {
                self.begin(action, now);
            }
            if !noted {
                self.report();
                self.sleep_until(step.wake_at, now);
                return Ok(());
            }
        }
        Err(format!("{}: steps follow each other without end", self.object.key).into())
    }

    fn begin(&mut self, action: Action, now: Timestamp) {
        let events = self.observed.began(&self.pod, &action, now);
        self.tell(events);
        if action.is_note() {
            return;
        }
        let site = self.site();
        let status = self.observed.reported.clone();
        let myself = self.myself.clone();
        self.tasks.spawn(async move {
            let outcome = match action {
                Action::DeletePod => super::report::delete(&site, status).await,
                _ => perform::perform(&site, &action, &myself).await,
            };
            let _ = myself.cast(Message::Finished(Box::new((action, outcome))));
        });
    }

    fn site(&self) -> Site {
        Site {
            parts: self.parts.clone(),
            object: Arc::clone(&self.object),
            pod: Arc::clone(&self.pod),
            addresses: self.addresses.clone(),
            revision: self.reporter.base(self.object.revision),
            cause: self.cause,
        }
    }

    fn watch(&mut self, container: String, attempt: u32) {
        let (site, myself) = (self.site(), self.myself.clone());
        let started_at = self.observed.view(&container).running_since();
        self.tasks.spawn(async move {
            let id = ContainerId { pod_uid: site.uid().to_owned(), container: container.clone(), attempt };
            let end = perform::wait(&site, &id, started_at).await;
            let _ = myself.cast(Message::Exited { container, attempt, end });
        });
    }

    fn tell(&mut self, events: Vec<Event>) {
        if events.is_empty() || self.observed.orphaned {
            return;
        }
        let site = self.site();
        let (done, told) = oneshot::channel();
        let before = std::mem::replace(&mut self.told, told);
        self.tasks.spawn(async move {
            let _ = before.await;
            super::report::tell(&site, events).await;
            let _ = done.send(());
        });
    }

    fn report(&mut self) {
        let Some(status) = self.observed.reported.as_ref().filter(|_| !self.observed.orphaned) else { return };
        match self.reporter.want(status) {
            super::report::Want::Nothing => {}
            super::report::Want::Later(delay) => self.after(delay, Message::Flush),
            super::report::Want::Write => {
                let (site, status, myself) = (self.site(), status.clone(), self.myself.clone());
                self.tasks.spawn(async move {
                    let result = super::report::write(&site, &status).await;
                    let _ = myself.cast(Message::Written(result));
                });
            }
        }
    }

    fn after(&mut self, delay: Duration, message: Message) {
        let myself = self.myself.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = myself.cast(message);
        });
    }

    fn sleep_until(&mut self, at: Option<Timestamp>, now: Timestamp) {
        if self.alarm.as_ref().is_some_and(|(set, _)| Some(*set) == at && *set > now) {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            alarm.abort();
        }
        let Some(at) = at else { return };
        let myself = self.myself.clone();
        let alarm = self.tasks.spawn(async move {
            tokio::time::sleep(at.since(now)).await;
            let _ = myself.cast(Message::Wake);
        });
        self.alarm = Some((at, alarm));
    }
}
