//! A pod that must not run twice, on a node that has lost the quorum: what runs is stopped within a grace that counts
//! for all of it together, without hooks, and nothing is started.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::action::{Action, Wake};
use super::backoff::Backoff;
use super::containers;
use super::observed::Observed;
use crate::model::Timestamp;
use crate::plan::fencing;

/// A container that survives SIGKILL is sent another one after this long.
const KILL_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// SIGTERM.
const TERM: i32 = 15;
/// SIGKILL.
const KILL: i32 = 9;

/// What may be done with the pod's containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fence {
    /// Anything.
    #[default]
    Open,
    /// None is started; those that run go on.
    Hold,
    /// None is started, and those that run are stopped.
    Stop {
        /// Since when.
        since: Timestamp,
    },
}

impl Observed {
    /// The fence is moved. Containers that it had stopped start again at once: they have not failed.
    pub fn fence(&mut self, verdict: fencing::Verdict, now: Timestamp) {
        let next = match (self.fence, verdict) {
            (stopped @ Fence::Stop { .. }, fencing::Verdict::Stop) => stopped,
            (_, fencing::Verdict::Stop) => Fence::Stop { since: now },
            // A node that was heard again and lost at once has nothing to hold that was stopped.
            (_, fencing::Verdict::Hold) => Fence::Hold,
            (_, fencing::Verdict::Run) => Fence::Open,
        };
        if matches!(self.fence, Fence::Stop { .. }) && next == Fence::Open {
            self.containers.values_mut().for_each(|view| view.backoff = Backoff::NEW);
        }
        self.fence = next;
    }
}

/// Stops whatever runs: asked at once, killed at the end of [`fencing::GRACE`], whatever else it was being stopped for.
pub fn stop(pod: &Pod, observed: &Observed, since: Timestamp, now: Timestamp, wake: &mut Wake) -> Vec<Action> {
    let deadline = since + fencing::GRACE;
    let mut out = Vec::new();
    for slot in containers::slots(pod) {
        let view = observed.view(slot.name());
        let (Some(current), true) = (&view.current, view.is_running()) else { continue };
        let (container, attempt) = (slot.name().to_owned(), current.attempt);
        let Some(stop) = &view.stop else {
            let message = format!("Stopping container {container}: the node has lost the quorum");
            out.push(Action::BeginStop { container, attempt, grace: fencing::GRACE, message });
            continue;
        };
        let again = stop.killed_at.map(|at| at + KILL_AGAIN_AFTER);
        let kill_at = again.unwrap_or(deadline);
        if now >= kill_at {
            out.push(Action::Signal { container, attempt, signal: KILL });
            continue;
        }
        wake.at(kill_at);
        if stop.asked_at.is_none() {
            out.push(Action::Signal { container, attempt, signal: TERM });
        }
    }
    out
}
