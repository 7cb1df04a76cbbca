//! What the containers of a pod add up to.

use k8s_openapi::api::core::v1::Pod;

use super::super::containers::{self, RestartPolicy, Role, Slot};
use super::super::observed::{ContainerView, Observed, Phase};

/// The phase, from the containers alone.
pub fn compute(pod: &Pod, observed: &Observed) -> &'static str {
    let policy = RestartPolicy::of_pod(pod);
    let initialized = containers::initialized(pod, observed);
    if !initialized {
        let failed = containers::init_slots(pod).any(|slot| init_failed(&slot, observed.view(slot.name())));
        return if failed && policy == RestartPolicy::Never { "Failed" } else { "Pending" };
    }
    let mut counts = Counts::default();
    for slot in containers::main_slots(pod) {
        counts.add(pod, &slot, observed.view(slot.name()));
    }
    counts.phase()
}

/// The phase of a pod whose containers have ended because the pod was deleted: none of them runs again.
pub fn of_ended(pod: &Pod, observed: &Observed) -> &'static str {
    let ends: Vec<i32> = containers::main_slots(pod)
        .filter_map(|slot| observed.view(slot.name()).exited())
        .map(|end| end.code)
        .collect();
    let all = containers::main_slots(pod).count();
    match (ends.len() == all, ends.iter().all(|code| *code == 0)) {
        (true, true) if all > 0 => "Succeeded",
        (true, false) => "Failed",
        _ if ends.is_empty() => "Pending",
        _ => "Failed",
    }
}

fn init_failed(slot: &Slot<'_>, view: &ContainerView) -> bool {
    slot.role == Role::Init && view.exited().is_some_and(|end| end.code != 0)
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
    succeeded: usize,
    failed: usize,
    again: usize,
}

impl Counts {
    fn add(&mut self, pod: &Pod, slot: &Slot<'_>, view: &ContainerView) {
        let place = match view.current.as_ref().map(|current| &current.phase) {
            Some(Phase::Running { .. }) if view.last.is_none() && containers::holds_others(slot, view) => {
                &mut self.waiting
            }
            Some(Phase::Running { .. }) => &mut self.running,
            Some(Phase::Exited(end)) if RestartPolicy::of_slot(pod, slot).restarts(end.code) => &mut self.again,
            Some(Phase::Exited(end)) if end.code == 0 => &mut self.succeeded,
            Some(Phase::Exited(_)) => &mut self.failed,
            Some(Phase::Created) if view.last.is_some() => &mut self.again,
            Some(Phase::Created) | None => &mut self.waiting,
        };
        *place += 1;
    }

    fn phase(&self) -> &'static str {
        match self {
            Self { waiting: 1.., .. } => "Pending",
            Self { running: 1.., .. } | Self { again: 1.., .. } => "Running",
            Self { failed: 1.., .. } => "Failed",
            Self { succeeded: 1.., .. } => "Succeeded",
            _ => "Pending",
        }
    }
}
