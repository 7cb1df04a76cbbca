//! How what happens changes what is known: an action begins, an action ends, a container ends.

use k8s_openapi::api::core::v1::Pod;

use super::action::{Action, Event, HookKind, Outcome};
use super::backoff::Backoff;
use super::observed::{ContainerView, Failure, Hook, ImageUse, Incarnation, Observed, Part, Phase, Stop, Terminated};
use super::{ProbeKind, containers};
use crate::model::Timestamp;

/// SIGKILL.
const KILL: i32 = 9;
/// Exit code of a container that could not be started (as containerd reports it).
const START_ERROR: i32 = 128;

impl Observed {
    /// `action` begins. Answers what to tell.
    pub fn began(&mut self, pod: &Pod, action: &Action, now: Timestamp) -> Vec<Event> {
        if !action.is_note() {
            self.in_flight.push(action.clone());
        }
        match action {
            Action::BeginEnd => self.ending_since = Some(now),
            Action::BeginStop { container, grace, message, .. } => {
                let stop = Stop { since: now, grace: *grace, pre_stop: Hook::Waiting, asked_at: None, killed_at: None };
                self.view_mut(container).stop = Some(stop);
                return vec![Event::about(container, false, "Killing", message.clone())];
            }
            Action::TellBackoff { container, attempt, image } => {
                self.view_mut(container).backoff_told = Some(*attempt);
                return vec![told_backoff(pod, container, image.as_deref())];
            }
            Action::CreateContainer { container, .. } => self.view_mut(container).note_restart(now),
            Action::RunHook { container, hook, .. } => self.view_mut(container).set_hook(*hook, Hook::Running),
            Action::Probe { container, kind, .. } => {
                let probe = containers::find(pod, container).and_then(|slot| kind.of(slot.container));
                if let Some(probe) = probe {
                    self.view_mut(container).probes.entry(*kind).or_default().begin(probe, now);
                }
            }
            Action::Signal { container, signal, .. } => self.view_mut(container).note_signal(*signal, now),
            _ => {}
        }
        Vec::new()
    }

    /// `action` has ended. Answers what to tell.
    pub fn finished(&mut self, pod: &Pod, action: &Action, outcome: Outcome, now: Timestamp) -> Vec<Event> {
        if let Some(at) = self.in_flight.iter().position(|one| one == action) {
            self.in_flight.swap_remove(at);
        }
        match action {
            Action::PrepareVolumes => part_made(&mut self.volumes, outcome, now),
            Action::AttachNetwork => {
                if let Outcome::Attached(addresses) = &outcome {
                    self.addresses.clone_from(addresses);
                }
                part_made(&mut self.network, outcome, now)
            }
            Action::CreateSandbox => part_made(&mut self.sandbox, outcome, now),
            Action::RemoveSandbox => part_removed(&mut self.sandbox, &mut self.removal, outcome, now),
            Action::DetachNetwork => part_removed(&mut self.network, &mut self.removal, outcome, now),
            Action::CleanVolumes => part_removed(&mut self.volumes, &mut self.removal, outcome, now),
            Action::DeletePod => {
                if outcome == Outcome::Done {
                    self.deleted = true;
                } else {
                    self.removal = self.removal.raised(self.removal.raised_at.unwrap_or(now), now);
                }
                Vec::new()
            }
            _ => self.container_finished(pod, action, outcome, now),
        }
    }

    /// A container has ended.
    pub fn exited(&mut self, name: &str, attempt: u32, end: Terminated) -> Vec<Event> {
        let view = self.view_mut(name);
        if let Some(current) = view.current.as_mut().filter(|current| current.attempt == attempt)
            && !matches!(current.phase, Phase::Exited(_))
        {
            current.phase = Phase::Exited(end);
        }
        Vec::new()
    }

    /// Something that specs are made from has changed: what failed for want of it is tried again at once.
    pub fn retry_config(&mut self) {
        if let Part::Failed { backoff, .. } = &mut self.volumes {
            *backoff = Backoff::NEW;
        }
        for view in self.containers.values_mut() {
            if view.failure.as_ref().is_some_and(|failure| failure.reason == "CreateContainerConfigError") {
                view.image_backoff = Backoff::NEW;
            }
        }
    }

    fn container_finished(&mut self, pod: &Pod, action: &Action, outcome: Outcome, now: Timestamp) -> Vec<Event> {
        match (action, outcome) {
            (Action::EnsureImage { container, attempt, image, .. }, outcome) => {
                self.view_mut(container).image_ready(container, *attempt, image, outcome, now)
            }
            (Action::CreateContainer { container, attempt, .. }, outcome) => {
                self.view_mut(container).created(container, *attempt, outcome, now)
            }
            (Action::StartContainer { container, attempt }, outcome) => {
                self.view_mut(container).start_ended(container, *attempt, outcome, now)
            }
            (Action::RunHook { container, attempt, hook }, outcome) => {
                self.view_mut(container).hook_ended(container, *attempt, *hook, outcome)
            }
            (Action::Probe { container, attempt, kind }, Outcome::Probed { success, message }) => {
                let view = self.view_mut(container);
                view.probed(pod, container, *attempt, *kind, success, message)
            }
            (Action::RemoveContainer { container, .. }, Outcome::Done) => {
                self.view_mut(container).removable = None;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

impl ContainerView {
    /// A new incarnation is made: the back-off grows where it follows another.
    fn note_restart(&mut self, now: Timestamp) {
        if let Some(failed_at) = self.exited().map(|end| end.finished_at) {
            self.backoff = self.backoff.raised(failed_at, now);
        }
    }

    fn note_signal(&mut self, signal: i32, now: Timestamp) {
        let Some(stop) = &mut self.stop else { return };
        stop.asked_at = stop.asked_at.or(Some(now));
        if signal == KILL {
            stop.killed_at = Some(now);
        }
    }

    fn set_hook(&mut self, hook: HookKind, state: Hook) {
        match (hook, &mut self.stop) {
            (HookKind::PostStart, _) => self.post_start = state,
            (HookKind::PreStop, Some(stop)) => stop.pre_stop = state,
            (HookKind::PreStop, None) => {}
        }
    }

    fn is_at(&self, attempt: u32) -> bool {
        self.current.as_ref().is_some_and(|current| current.attempt == attempt)
    }

    fn failed(&mut self, container: &str, failure: Failure, now: Timestamp) -> Vec<Event> {
        let before = self.image_backoff;
        self.image_backoff = before.raised(before.raised_at.unwrap_or(now), now);
        let mut events = vec![Event::about(container, true, "Failed", failure.message.clone())];
        if super::image::is_pull_failure(failure.reason) {
            if let Some(event) = events.first_mut() {
                event.reason = super::image::event_reason(failure.reason);
            }
            events.push(Event::about(container, true, "Failed", format!("Error: {}", failure.reason)));
        } else if let Some(event) = events.first_mut() {
            event.message = format!("Error: {}", failure.message);
        }
        self.failure = Some(failure);
        self.backoff_told = None;
        events
    }

    fn image_ready(
        &mut self,
        container: &str,
        attempt: u32,
        image: &str,
        outcome: Outcome,
        now: Timestamp,
    ) -> Vec<Event> {
        match outcome {
            Outcome::Image { id, printed, size_bytes, pulled_in } => {
                self.image = Some(ImageUse { attempt, id, printed });
                if self.failure.as_ref().is_some_and(|failure| super::image::is_pull_failure(failure.reason)) {
                    self.failure = None;
                    self.image_backoff = Backoff::NEW;
                }
                let message = match pulled_in {
                    None => {
                        format!("Container image {image:?} already present on machine and can be accessed by the pod")
                    }
                    Some(took) => {
                        let ms = took.as_millis();
                        format!(
                            "Successfully pulled image {image:?} in {ms}ms ({ms}ms including waiting). \
                             Image size: {size_bytes} bytes."
                        )
                    }
                };
                vec![Event::about(container, false, "Pulled", message)]
            }
            Outcome::Failed(failure) => {
                let pulled = failure.reason == "ErrImagePull";
                let mut events = self.failed(container, failure, now);
                if let Some(event) = events.first_mut().filter(|_| pulled) {
                    event.message = format!("Failed to pull image {image:?}: {}", event.message);
                }
                events
            }
            _ => Vec::new(),
        }
    }

    fn created(&mut self, container: &str, attempt: u32, outcome: Outcome, now: Timestamp) -> Vec<Event> {
        match outcome {
            Outcome::Created { printed_id } => {
                let image_id = self.image.as_ref().map(|image| image.printed.clone()).unwrap_or_default();
                self.succeed(Incarnation { attempt, printed_id, image_id, phase: Phase::Created });
                vec![Event::about(container, false, "Created", "Container created".into())]
            }
            Outcome::Failed(failure) => self.failed(container, failure, now),
            _ => Vec::new(),
        }
    }

    /// Puts a new incarnation in place of the last one.
    fn succeed(&mut self, next: Incarnation) {
        if let Some(Incarnation { attempt, phase: Phase::Exited(end), .. }) = self.current.replace(next) {
            self.last = Some(end);
            self.removable = attempt.checked_sub(1);
        }
        self.failure = None;
        self.image_backoff = Backoff::NEW;
        self.post_start = Hook::Waiting;
        self.stop = None;
        self.probes.clear();
    }

    fn start_ended(&mut self, container: &str, attempt: u32, outcome: Outcome, now: Timestamp) -> Vec<Event> {
        let Some(current) = self.current.as_mut().filter(|current| current.attempt == attempt) else {
            return Vec::new();
        };
        if current.phase != Phase::Created {
            return Vec::new();
        }
        match outcome {
            Outcome::Done => {
                current.phase = Phase::Running { since: now };
                vec![Event::about(container, false, "Started", "Container started".into())]
            }
            Outcome::Failed(failure) => {
                current.phase = Phase::Exited(Terminated {
                    printed_id: current.printed_id.clone(),
                    started_at: None,
                    finished_at: now,
                    code: START_ERROR,
                    signal: None,
                    reason: "StartError".to_owned(),
                    message: failure.message.clone(),
                });
                let event = Event::about(container, true, "Failed", format!("Error: {}", failure.message));
                vec![event]
            }
            _ => Vec::new(),
        }
    }

    fn hook_ended(&mut self, container: &str, attempt: u32, hook: HookKind, outcome: Outcome) -> Vec<Event> {
        if !self.is_at(attempt) {
            return Vec::new();
        }
        let failure = match outcome {
            Outcome::Failed(failure) => Some(failure.message),
            _ => None,
        };
        match (hook, failure) {
            (_, None) => {
                self.set_hook(hook, Hook::Done);
                Vec::new()
            }
            (HookKind::PostStart, Some(message)) => {
                self.set_hook(hook, Hook::Failed);
                vec![Event::about(container, true, "FailedPostStartHook", format!("PostStartHook failed: {message}"))]
            }
            (HookKind::PreStop, Some(message)) => {
                self.set_hook(hook, Hook::Done);
                vec![Event::about(container, true, "FailedPreStopHook", format!("PreStopHook failed: {message}"))]
            }
        }
    }

    fn probed(
        &mut self,
        pod: &Pod,
        container: &str,
        attempt: u32,
        kind: ProbeKind,
        success: bool,
        message: String,
    ) -> Vec<Event> {
        let Some(slot) = containers::find(pod, container).filter(|_| self.is_at(attempt) && self.is_running()) else {
            return Vec::new();
        };
        let Some(probe) = kind.of(slot.container) else { return Vec::new() };
        let counts = self.probes.entry(kind).or_default().record(probe, success);
        if success || !counts {
            return Vec::new();
        }
        vec![Event::about(container, true, "Unhealthy", format!("{} probe failed: {message}", kind.title()))]
    }
}

impl Event {
    /// An event about a container; about the pod where `container` is empty.
    pub fn about(container: &str, warning: bool, reason: &'static str, message: String) -> Self {
        Self { container: container.to_owned(), warning, reason, message }
    }
}

fn part_made(part: &mut Part, outcome: Outcome, now: Timestamp) -> Vec<Event> {
    let Outcome::Failed(failure) = outcome else {
        *part = Part::Present;
        return Vec::new();
    };
    let before = match part {
        Part::Failed { backoff, .. } => *backoff,
        _ => Backoff::NEW,
    };
    let backoff = before.raised(before.raised_at.unwrap_or(now), now);
    *part = Part::Failed { message: failure.message.clone(), backoff };
    vec![Event::about("", true, failure.reason, failure.message)]
}

fn part_removed(part: &mut Part, removal: &mut Backoff, outcome: Outcome, now: Timestamp) -> Vec<Event> {
    let Outcome::Failed(failure) = outcome else {
        *part = Part::Gone;
        return Vec::new();
    };
    *removal = removal.raised(removal.raised_at.unwrap_or(now), now);
    vec![Event::about("", true, failure.reason, failure.message)]
}

fn told_backoff(pod: &Pod, container: &str, image: Option<&str>) -> Event {
    let message = match image {
        Some(image) => format!("Back-off pulling image {image:?}"),
        None => {
            format!("Back-off restarting failed container {container} in pod {}", super::status::printed_name(pod))
        }
    };
    Event::about(container, image.is_none(), "BackOff", message)
}
