//! One container's next step: image, create, start, postStart, probes, restart.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::action::{Action, HookKind, Wake};
use super::image;
use super::observed::{ContainerView, Hook, Observed, Phase};
use super::probe::ProbeKind;
use crate::model::Timestamp;

/// Grace where neither pod nor probe says one (Kubernetes' default).
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// How long a failed pull is shown as itself before it is shown as a back-off.
const SHOW_FAILURE: Duration = Duration::from_secs(3);

/// What a container is in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one.
    Init,
    /// An init container with `restartPolicy: Always`: starts in order, stays.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// A container of a pod, in starting order.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// Its spec.
    pub container: &'a Container,
    /// What it is.
    pub role: Role,
}

impl<'a> Slot<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.container.name
    }
}

/// When a container that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// Where the code is not zero.
    OnFailure,
    /// Not.
    Never,
}

impl RestartPolicy {
    /// The pod's policy.
    pub fn of_pod(pod: &Pod) -> Self {
        Self::parse(pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref())).unwrap_or(Self::Always)
    }

    /// The policy of one container: init containers never run again once they succeeded.
    pub fn of_slot(pod: &Pod, slot: &Slot<'_>) -> Self {
        let own = Self::parse(slot.container.restart_policy.as_deref());
        match (slot.role, own.unwrap_or_else(|| Self::of_pod(pod))) {
            (Role::Sidecar, _) => Self::Always,
            (Role::Init, Self::Always) => Self::OnFailure,
            (_, policy) => policy,
        }
    }

    /// Whether a container that ended with `code` runs again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }

    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }
}

/// Containers in starting order.
pub fn slots(pod: &Pod) -> impl Iterator<Item = Slot<'_>> {
    init_slots(pod).chain(main_slots(pod))
}

/// Init containers and sidecars.
pub fn init_slots(pod: &Pod) -> impl DoubleEndedIterator<Item = Slot<'_>> {
    let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    init.iter().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        Slot { container, role: if sidecar { Role::Sidecar } else { Role::Init } }
    })
}

/// The pod's own containers.
pub fn main_slots(pod: &Pod) -> impl DoubleEndedIterator<Item = Slot<'_>> {
    let main = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    main.iter().map(|container| Slot { container, role: Role::Main })
}

/// The container called `name`.
pub fn find<'a>(pod: &'a Pod, name: &str) -> Option<Slot<'a>> {
    slots(pod).find(|slot| slot.name() == name)
}

/// Whether the newest incarnation ended with 0.
pub fn succeeded(view: &ContainerView) -> bool {
    view.exited().is_some_and(|end| end.code == 0)
}

/// Whether it runs, its hook is over and its startup probe has passed.
pub fn is_started(container: &Container, view: &ContainerView) -> bool {
    let probed = container.startup_probe.is_none()
        || view.probes.get(&ProbeKind::Startup).is_some_and(|track| track.verdict == Some(true));
    view.is_running() && probed && !hook_pending(container, view) && view.post_start != Hook::Failed
}

/// Whether all init containers are over (or once were: a main container has been made since).
pub fn initialized(pod: &Pod, observed: &Observed) -> bool {
    main_slots(pod).any(|slot| observed.view(slot.name()).current.is_some())
        || init_slots(pod).all(|slot| {
            let view = observed.view(slot.name());
            match slot.role {
                Role::Sidecar => is_started(slot.container, view),
                Role::Init | Role::Main => succeeded(view),
            }
        })
}

/// Whether containers after this one wait for it: its postStart hook is not over.
pub fn holds_others(slot: &Slot<'_>, view: &ContainerView) -> bool {
    view.is_running() && hook_pending(slot.container, view)
}

fn hook_pending(container: &Container, view: &ContainerView) -> bool {
    let has_hook = container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some());
    has_hook && matches!(view.post_start, Hook::Waiting | Hook::Running)
}

/// Whether the container is to be made (again), and when.
pub fn wanted(pod: &Pod, slot: &Slot<'_>, view: &ContainerView) -> Wanted {
    let Some(current) = &view.current else { return Wanted::Now };
    let Phase::Exited(end) = &current.phase else { return Wanted::No };
    if !RestartPolicy::of_slot(pod, slot).restarts(end.code) {
        return Wanted::No;
    }
    view.backoff.until(end.finished_at).map_or(Wanted::Now, Wanted::At)
}

/// Answer of [`wanted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is there, or never comes back.
    No,
    /// At once.
    Now,
    /// At this time, which may be past.
    At(Timestamp),
}

/// Asks for the image of the next incarnation, where one is wanted.
pub fn image(pod: &Pod, slot: &Slot<'_>, view: &ContainerView, now: Timestamp, wake: &mut Wake, out: &mut Vec<Action>) {
    let attempt = view.next_attempt();
    match wanted(pod, slot, view) {
        Wanted::No => return,
        Wanted::At(at) if at > now => return wait_for_restart(slot, view, at, wake, out),
        Wanted::Now | Wanted::At(_) => {}
    }
    if view.image.as_ref().is_some_and(|image| image.attempt == attempt) {
        return;
    }
    if !retry_is_due(slot, view, now, wake, out) {
        return;
    }
    let (container, image) = (slot.name().to_owned(), slot.container.image.clone().unwrap_or_default());
    let policy = image::policy(slot.container);
    out.push(Action::EnsureImage { container, attempt, image, policy });
}

fn wait_for_restart(slot: &Slot<'_>, view: &ContainerView, at: Timestamp, wake: &mut Wake, out: &mut Vec<Action>) {
    wake.at(at);
    let attempt = view.next_attempt();
    if view.backoff_told != Some(attempt) {
        out.push(Action::TellBackoff { container: slot.name().to_owned(), attempt, image: None });
    }
}

/// Whether a failure to make the container is old enough to try again.
fn retry_is_due(slot: &Slot<'_>, view: &ContainerView, now: Timestamp, wake: &mut Wake, out: &mut Vec<Action>) -> bool {
    let Some(failure) = &view.failure else { return true };
    let Some(at) = view.image_backoff.raised_at.map(|at| at + view.image_backoff.delay) else { return true };
    if at <= now {
        return true;
    }
    wake.at(at);
    let attempt = view.next_attempt();
    let tell_at = view.image_backoff.raised_at.map_or(at, |raised_at| raised_at + SHOW_FAILURE);
    if tell_at > now {
        wake.at(tell_at);
    } else if image::is_pull_failure(failure.reason) && view.backoff_told != Some(attempt) {
        let image = slot.container.image.clone();
        out.push(Action::TellBackoff { container: slot.name().to_owned(), attempt, image });
    }
    false
}

/// Makes, starts, hooks and probes the container.
pub fn advance(
    pod: &Pod,
    slot: &Slot<'_>,
    view: &ContainerView,
    now: Timestamp,
    wake: &mut Wake,
    out: &mut Vec<Action>,
) {
    let container = slot.name().to_owned();
    match view.current.as_ref().map(|current| (current.attempt, &current.phase)) {
        Some((attempt, Phase::Created)) => out.push(Action::StartContainer { container, attempt }),
        Some((attempt, Phase::Running { since })) => tend(pod, slot, view, attempt, *since, now, wake, out),
        Some((_, Phase::Exited(_))) | None => create(pod, slot, view, now, wake, out),
    }
}

fn create(pod: &Pod, slot: &Slot<'_>, view: &ContainerView, now: Timestamp, wake: &mut Wake, out: &mut Vec<Action>) {
    let due = match wanted(pod, slot, view) {
        Wanted::No => false,
        Wanted::Now => true,
        Wanted::At(at) => at <= now,
    };
    let attempt = view.next_attempt();
    let image = view.image.as_ref().filter(|image| image.attempt == attempt);
    let Some(image) = image.filter(|_| due && retry_is_due(slot, view, now, wake, &mut Vec::new())) else { return };
    out.push(Action::CreateContainer { container: slot.name().to_owned(), attempt, image_id: image.id.clone() });
}

#[expect(clippy::too_many_arguments, reason = "one container's whole situation")]
fn tend(
    pod: &Pod,
    slot: &Slot<'_>,
    view: &ContainerView,
    attempt: u32,
    since: Timestamp,
    now: Timestamp,
    wake: &mut Wake,
    out: &mut Vec<Action>,
) {
    let container = slot.name().to_owned();
    remove_old(slot, view, attempt, out);
    if view.stop.is_some() {
        out.extend(super::ending::stop(slot.container, view, attempt, None, now, wake));
        return;
    }
    if let Some((grace, message)) = verdict(pod, slot, view) {
        out.push(Action::BeginStop { container, attempt, grace, message });
        return;
    }
    if hook_pending(slot.container, view) {
        if view.post_start == Hook::Waiting {
            out.push(Action::RunHook { container, attempt, hook: HookKind::PostStart });
        }
        return;
    }
    probes(slot, view, attempt, since, now, wake, out);
}

/// Keeps one incarnation before the current one: its log is `logs --previous`.
fn remove_old(slot: &Slot<'_>, view: &ContainerView, attempt: u32, out: &mut Vec<Action>) {
    if let Some(old) = view.removable.filter(|old| *old + 1 < attempt) {
        out.push(Action::RemoveContainer { container: slot.name().to_owned(), attempt: old });
    }
}

/// Why a running container must end, and how long that may take.
fn verdict(pod: &Pod, slot: &Slot<'_>, view: &ContainerView) -> Option<(Duration, String)> {
    let name = slot.name();
    if view.post_start == Hook::Failed {
        return Some((grace(pod), "FailedPostStartHook".to_owned()));
    }
    for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
        let failed = view.probes.get(&kind).is_some_and(|track| track.verdict == Some(false));
        if let Some(probe) = kind.of(slot.container).filter(|_| failed) {
            let own = probe.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok());
            let what = kind.title().to_lowercase();
            let message = format!("Container {name} failed {what} probe, will be restarted");
            return Some((own.map_or_else(|| grace(pod), Duration::from_secs), message));
        }
    }
    None
}

fn probes(
    slot: &Slot<'_>,
    view: &ContainerView,
    attempt: u32,
    since: Timestamp,
    now: Timestamp,
    wake: &mut Wake,
    out: &mut Vec<Action>,
) {
    let started = is_started(slot.container, view);
    for kind in ProbeKind::ALL {
        let Some(probe) = kind.of(slot.container) else { continue };
        if started == (kind == ProbeKind::Startup) {
            continue;
        }
        let due = view.probes.get(&kind).copied().unwrap_or_default().due(kind, probe, since);
        if due <= now {
            out.push(Action::Probe { container: slot.name().to_owned(), attempt, kind });
        } else {
            wake.at(due);
        }
    }
}

/// The pod's own grace.
pub fn grace(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DEFAULT_GRACE, Duration::from_secs)
}
