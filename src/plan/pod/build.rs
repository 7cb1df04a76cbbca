//! The way up: volumes and network, sandbox, init containers in order, then the pod's containers.

use k8s_openapi::api::core::v1::Pod;

use super::action::{Action, Wake};
use super::containers::{self, Role, Slot};
use super::observed::{Observed, Part};
use crate::model::Timestamp;

/// What a living pod needs next.
pub fn actions(pod: &Pod, observed: &Observed, now: Timestamp, wake: &mut Wake) -> Vec<Action> {
    let mut out = Vec::new();
    let ready = foundation(observed, now, wake, &mut out);
    let active = active_slots(pod, observed);
    for slot in &active {
        containers::image(pod, slot, observed.view(slot.name()), now, wake, &mut out);
    }
    if !ready {
        return out;
    }
    for slot in &active {
        containers::advance(pod, slot, observed.view(slot.name()), now, wake, &mut out);
        if containers::holds_others(slot, observed.view(slot.name())) {
            break;
        }
    }
    out
}

fn foundation(observed: &Observed, now: Timestamp, wake: &mut Wake, out: &mut Vec<Action>) -> bool {
    let volumes = part(&observed.volumes, Action::PrepareVolumes, now, wake, out);
    let network = part(&observed.network, Action::AttachNetwork, now, wake, out);
    volumes && network && part(&observed.sandbox, Action::CreateSandbox, now, wake, out)
}

fn part(part: &Part, make: Action, now: Timestamp, wake: &mut Wake, out: &mut Vec<Action>) -> bool {
    match part {
        Part::Present => return true,
        Part::Gone => {}
        Part::Absent => out.push(make),
        Part::Failed { backoff, .. } => match backoff.raised_at.map(|at| at + backoff.delay).filter(|at| *at > now) {
            Some(at) => wake.at(at),
            None => out.push(make),
        },
    }
    false
}

/// Containers that may be worked on: init containers up to the first that is not over, all others once none is left.
/// Sidecars stay active for good.
fn active_slots<'a>(pod: &'a Pod, observed: &Observed) -> Vec<Slot<'a>> {
    let mut active = Vec::new();
    let initialized = containers::initialized(pod, observed);
    for slot in containers::slots(pod) {
        let view = observed.view(slot.name());
        match slot.role {
            Role::Init if initialized || containers::succeeded(view) => {}
            Role::Init => {
                active.push(slot);
                return active;
            }
            Role::Sidecar => {
                let blocks = !initialized && !containers::is_started(slot.container, view);
                active.push(slot);
                if blocks {
                    return active;
                }
            }
            Role::Main => active.push(slot),
        }
    }
    active
}
