//! The way down: why a pod ends, its containers one after the other, then what they stood on.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::action::{Action, HookKind, Wake};
use super::containers::{self, Role};
use super::observed::{ContainerView, Hook, Observed, Part};
use super::status;
use crate::model::Timestamp;

/// Least time between asking a container to end and making it, where its preStop hook used the grace up (kubelet's
/// `minimumGracePeriodInSeconds`).
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// A container that survives SIGKILL is sent another one after this long.
const KILL_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// SIGTERM.
const TERM: i32 = 15;
/// SIGKILL.
const KILL: i32 = 9;

/// Why a pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its deletion was asked for (or its object is gone).
    Deleted,
    /// It ran for longer than `activeDeadlineSeconds`.
    Deadline,
    /// Its containers have ended and none runs again.
    Finished,
}

/// Whether the pod ends.
pub fn cause(pod: &Pod, observed: &Observed, now: Timestamp, wake: &mut Wake) -> Option<Cause> {
    if observed.orphaned || pod.metadata.deletion_timestamp.is_some() {
        return Some(Cause::Deleted);
    }
    if status::is_terminal(pod, observed) {
        return Some(Cause::Finished);
    }
    if let Some(deadline) = deadline(pod, observed) {
        if deadline <= now {
            return Some(Cause::Deadline);
        }
        wake.at(deadline);
    }
    status::is_finished(pod, observed).then_some(Cause::Finished)
}

/// When the pod has run long enough.
pub fn deadline(pod: &Pod, observed: &Observed) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    Some(observed.started_at? + Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// What an ending pod needs next.
pub fn actions(pod: &Pod, observed: &Observed, cause: Cause, now: Timestamp, wake: &mut Wake) -> Vec<Action> {
    let Some(since) = observed.ending_since else { return vec![Action::BeginEnd] };
    if observed.any_running() {
        return stop_all(pod, observed, since + pod_grace(pod), now, wake);
    }
    if observed.in_flight.iter().any(Action::builds) {
        return Vec::new();
    }
    if let Some(at) = observed.removal.raised_at.map(|at| at + observed.removal.delay).filter(|at| *at > now) {
        wake.at(at);
        return Vec::new();
    }
    take_away(observed, cause)
}

/// The grace of the pod's end: that of the deletion request, else the pod's own; at least a second.
fn pod_grace(pod: &Pod) -> Duration {
    let asked = pod.metadata.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    asked.map_or_else(|| containers::grace(pod), Duration::from_secs).max(Duration::from_secs(1))
}

/// Main containers end first, then sidecars, the last one first; the deadline is for all of them together.
fn stop_all(pod: &Pod, observed: &Observed, deadline: Timestamp, now: Timestamp, wake: &mut Wake) -> Vec<Action> {
    let mut out = Vec::new();
    let main_running = containers::main_slots(pod).any(|slot| observed.view(slot.name()).is_running());
    let mut later_running = main_running;
    let order = containers::main_slots(pod).chain(containers::init_slots(pod).rev());
    for slot in order {
        let view = observed.view(slot.name());
        let (Some(current), true) = (&view.current, view.is_running()) else { continue };
        let waits = slot.role == Role::Sidecar && later_running && now < deadline;
        later_running |= slot.role == Role::Sidecar;
        if waits {
            wake.at(deadline);
            continue;
        }
        out.extend(stop(slot.container, view, current.attempt, Some(deadline), now, wake));
    }
    out
}

/// The next step to end one running container: preStop, SIGTERM (or its own signal), SIGKILL.
pub fn stop(
    container: &Container,
    view: &ContainerView,
    attempt: u32,
    pod_deadline: Option<Timestamp>,
    now: Timestamp,
    wake: &mut Wake,
) -> Vec<Action> {
    let name = container.name.clone();
    let Some(stop) = &view.stop else {
        let message = format!("Stopping container {name}");
        let grace = pod_deadline.map_or(Duration::ZERO, |deadline| deadline.since(now));
        return vec![Action::BeginStop { container: name, attempt, grace, message }];
    };
    let own = stop.since + stop.grace;
    let deadline = pod_deadline.map_or(own, |deadline| deadline.min(own.max(deadline)));
    let lifecycle = container.lifecycle.as_ref();
    let has_hook = lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
    if has_hook && stop.asked_at.is_none() && matches!(stop.pre_stop, Hook::Waiting | Hook::Running) && now < deadline {
        wake.at(deadline);
        let hook = Action::RunHook { container: name, attempt, hook: HookKind::PreStop };
        return if stop.pre_stop == Hook::Waiting { vec![hook] } else { Vec::new() };
    }
    let Some(asked_at) = stop.asked_at else {
        let signal = lifecycle.and_then(|lifecycle| signal_number(lifecycle.stop_signal.as_deref()?)).unwrap_or(TERM);
        return vec![Action::Signal { container: name, attempt, signal }];
    };
    let kill_at = match stop.killed_at {
        Some(killed_at) => killed_at + KILL_AGAIN_AFTER,
        None if has_hook => deadline.max(asked_at + LEAST_GRACE),
        None => deadline,
    };
    if now >= kill_at {
        return vec![Action::Signal { container: name, attempt, signal: KILL }];
    }
    wake.at(kill_at);
    Vec::new()
}

fn take_away(observed: &Observed, cause: Cause) -> Vec<Action> {
    let deleted = cause == Cause::Deleted;
    if deleted && observed.sandbox != Part::Gone {
        return vec![Action::RemoveSandbox];
    }
    let mut out = Vec::new();
    if observed.network != Part::Gone {
        out.push(Action::DetachNetwork);
    }
    if observed.volumes != Part::Gone {
        out.push(Action::CleanVolumes);
    }
    if out.is_empty() && deleted && !observed.orphaned && !observed.deleted {
        out.push(Action::DeletePod);
    }
    out
}

/// The number of a signal as `lifecycle.stopSignal` spells it.
fn signal_number(name: &str) -> Option<i32> {
    let known = [
        ("SIGHUP", 1),
        ("SIGINT", 2),
        ("SIGQUIT", 3),
        ("SIGABRT", 6),
        ("SIGKILL", 9),
        ("SIGUSR1", 10),
        ("SIGUSR2", 12),
        ("SIGALRM", 14),
        ("SIGTERM", 15),
        ("SIGCONT", 18),
        ("SIGSTOP", 19),
        ("SIGWINCH", 28),
    ];
    known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}
