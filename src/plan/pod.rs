//! The life of one pod on its node, pure: what is known goes in, the next actions and the whole status come out.
//!
//! Rooms: `observed` what is known; `action` what is asked, what came of it and what is told; `record` how results
//! change what is known; `build` the way up; `ending` the way down; `containers` one container's next step; `backoff`,
//! `probe` counters; `status` the report; `adopt` what a restarted node finds; `fenced` what a node without a
//! quorum stops; `image`, `env`, `resources`, `files`,
//! `security` what specs are built from.

pub mod action;
pub mod adopt;
pub mod backoff;
pub mod build;
pub mod containers;
pub mod ending;
pub mod env;
pub mod etc;
pub mod fenced;
pub mod fields;
pub mod files;
pub mod image;
pub mod observed;
pub mod probe;
pub mod record;
pub mod resources;
pub mod security;
pub mod status;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Pod, PodStatus};

pub use action::{Action, Event, HookKind, Outcome, PullPolicy};
pub use observed::{Failure, Observed, Terminated};
pub use probe::ProbeKind;

use crate::model::Timestamp;
use action::Wake;
use fenced::Fence;

/// What to do about a pod now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// Not yet in flight; independent of each other.
    pub actions: Vec<Action>,
    /// The whole status, as it is to be reported.
    pub status: PodStatus,
    /// When to look again even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// Nothing is left of the pod, here and in the API.
    pub done: bool,
}

/// Decides the next step of `pod`.
pub fn step(pod: &Pod, observed: &Observed, now: Timestamp) -> Step {
    let mut wake = Wake::default();
    let mut actions = match (observed.fence, ending::cause(pod, observed, now, &mut wake)) {
        (Fence::Stop { since }, _) if observed.any_running() => fenced::stop(pod, observed, since, now, &mut wake),
        (_, Some(cause)) => ending::actions(pod, observed, cause, now, &mut wake),
        (Fence::Open, None) => build::actions(pod, observed, now, &mut wake),
        (Fence::Hold | Fence::Stop { .. }, None) => Vec::new(),
    };
    actions.retain(|action| !observed.in_flight.contains(action));
    Step {
        actions,
        status: status::report(pod, observed, now),
        wake_at: wake.0.filter(|at| *at > now),
        done: observed.deleted || (observed.orphaned && observed.is_taken_away()),
    }
}
