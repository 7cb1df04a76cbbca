//! Statuses of containers: state, last state, readiness, restarts.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, PodStatus, VolumeMountStatus,
};

use super::super::backoff::go_seconds;
use super::super::containers::{self, Role, Slot, Wanted};
use super::super::observed::{ContainerView, Failure, Observed, Phase, Terminated};
use super::super::probe::ProbeKind;
use super::{printed_name, time};
use crate::model::Timestamp;

/// Fills `containerStatuses` and `initContainerStatuses`; a container that was never seen here keeps what the API
/// reports of it.
pub fn fill(status: &mut PodStatus, pod: &Pod, observed: &Observed, now: Timestamp) {
    let frozen = super::is_terminal(pod, observed);
    let make = |slot: Slot<'_>, before: Option<&Vec<ContainerStatus>>| {
        let view = observed.view(slot.name());
        let known = before.into_iter().flatten().find(|status| status.name == slot.name());
        match known {
            Some(known) if frozen && view.current.is_none() => known.clone(),
            _ => one(pod, &slot, view, observed, now),
        }
    };
    let main: Vec<_> = containers::main_slots(pod).map(|slot| make(slot, status.container_statuses.as_ref())).collect();
    let init: Vec<_> =
        containers::init_slots(pod).map(|slot| make(slot, status.init_container_statuses.as_ref())).collect();
    status.container_statuses = Some(main);
    status.init_container_statuses = Some(init).filter(|init| !init.is_empty());
}

fn one(pod: &Pod, slot: &Slot<'_>, view: &ContainerView, observed: &Observed, now: Timestamp) -> ContainerStatus {
    let container = slot.container;
    let (state, last) = states(pod, slot, view, observed, now);
    let current = view.current.as_ref();
    let resources = container.resources.clone().filter(|resources| *resources != Default::default());
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: current.map(|current| current.image_id.clone()).unwrap_or_default(),
        container_id: current.map(|current| current.printed_id.clone()).filter(|id| !id.is_empty()),
        ready: is_ready(slot, view),
        started: Some(containers::is_started(container, view)),
        restart_count: i32::try_from(current.map_or(view.first_attempt, |current| current.attempt)).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last.map(terminated).unwrap_or_default()),
        allocated_resources: resources.as_ref().and_then(|resources| resources.requests.clone()),
        resources,
        volume_mounts: volume_mounts(container),
        ..ContainerStatus::default()
    }
}

fn is_ready(slot: &Slot<'_>, view: &ContainerView) -> bool {
    if slot.role == Role::Init {
        return containers::succeeded(view);
    }
    let probed = slot.container.readiness_probe.is_none()
        || view.probes.get(&ProbeKind::Readiness).is_some_and(|track| track.verdict == Some(true));
    containers::is_started(slot.container, view) && probed
}

fn states<'a>(
    pod: &Pod,
    slot: &Slot<'_>,
    view: &'a ContainerView,
    observed: &Observed,
    now: Timestamp,
) -> (ContainerState, Option<&'a Terminated>) {
    match view.current.as_ref().map(|current| &current.phase) {
        None => (waiting_first(pod, slot, view), view.last.as_ref()),
        Some(Phase::Created) => (waiting("ContainerCreating", String::new()), view.last.as_ref()),
        Some(Phase::Running { .. }) if containers::holds_others(slot, view) => {
            (waiting("ContainerCreating", String::new()), view.last.as_ref())
        }
        Some(Phase::Running { since }) => {
            let running = ContainerStateRunning { started_at: Some(time(*since)) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, view.last.as_ref())
        }
        Some(Phase::Exited(end)) => match again(pod, slot, view, observed, now) {
            Some(state) => (state, Some(end)),
            None => (terminated(end), view.last.as_ref()),
        },
    }
}

/// What a container that has ended waits for; `None` where it does not come back, or does at once.
fn again(
    pod: &Pod,
    slot: &Slot<'_>,
    view: &ContainerView,
    observed: &Observed,
    now: Timestamp,
) -> Option<ContainerState> {
    if observed.ending_since.is_some() {
        return None;
    }
    let wanted = containers::wanted(pod, slot, view);
    if let (Wanted::Now | Wanted::At(_), Some(failure)) = (wanted, &view.failure) {
        return Some(failed(failure, slot, view));
    }
    match wanted {
        Wanted::At(at) if at > now => {
            let delay = go_seconds(view.backoff.delay);
            let (name, pod) = (slot.name(), printed_name(pod));
            let message = format!("back-off {delay} restarting failed container={name} pod={pod}");
            Some(waiting("CrashLoopBackOff", message))
        }
        _ => None,
    }
}

fn waiting_first(pod: &Pod, slot: &Slot<'_>, view: &ContainerView) -> ContainerState {
    match &view.failure {
        Some(failure) => failed(failure, slot, view),
        None if containers::init_slots(pod).next().is_some() => waiting("PodInitializing", String::new()),
        None => waiting("ContainerCreating", String::new()),
    }
}

/// A failure as it is shown: at first itself, then, while the next try waits, as a back-off.
fn failed(failure: &Failure, slot: &Slot<'_>, view: &ContainerView) -> ContainerState {
    let in_backoff = view.backoff_told.is_some() && failure.reason == "ErrImagePull";
    if !in_backoff {
        return waiting(failure.reason, failure.message.clone());
    }
    let image = slot.container.image.as_deref().unwrap_or_default();
    waiting("ImagePullBackOff", format!("Back-off pulling image {image:?}: ErrImagePull: {}", failure.message))
}

fn waiting(reason: &str, message: String) -> ContainerState {
    let message = Some(message).filter(|message| !message.is_empty());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(end: &Terminated) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: Some(end.printed_id.clone()).filter(|id| !id.is_empty()),
        exit_code: end.code,
        started_at: Some(time(end.started_at.unwrap_or(Timestamp(0)))),
        finished_at: Some(time(end.finished_at)),
        message: Some(end.message.clone()).filter(|message| !message.is_empty()),
        reason: Some(end.reason.clone()),
        signal: end.signal,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?;
    let one = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        mount_path: mount.mount_path.clone(),
        name: mount.name.clone(),
        read_only: mount.read_only.filter(|read_only| *read_only),
        recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    };
    Some(mounts.iter().map(one).collect())
}
