//! The conditions that the node reports; those of others are kept.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};

use super::super::containers::{self, Role};
use super::super::observed::{Observed, Part};
use super::time;
use crate::model::Timestamp;

/// Conditions that the node owns, in the order that Kubernetes prints them.
const OWN: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

/// Fills `status.conditions`, keeping transition times where a condition did not change.
pub fn fill(status: &mut PodStatus, pod: &Pod, observed: &Observed, now: Timestamp) {
    let before = status.conditions.take().unwrap_or_default();
    let theirs = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let containers_ready = containers_ready(status, pod);
    let ready = ready(&containers_ready, pod, &theirs);
    let verdicts = [
        Verdict::plain(observed.sandbox == Part::Present && observed.network == Part::Present),
        initialized(status, pod, observed),
        ready,
        containers_ready,
        Verdict::plain(true),
    ];
    let own = OWN.iter().zip(verdicts).map(|(name, verdict)| {
        let known = before.iter().chain(&theirs).find(|condition| condition.type_ == *name);
        verdict.condition(name, known, pod.metadata.generation, now)
    });
    let foreign = theirs.iter().filter(|condition| !OWN.contains(&condition.type_.as_str())).cloned();
    status.conditions = Some(own.chain(foreign).collect());
}

fn initialized(status: &PodStatus, pod: &Pod, observed: &Observed) -> Verdict {
    if status.phase.as_deref() == Some("Succeeded") {
        return Verdict { reason: "PodCompleted", ..Verdict::plain(true) };
    }
    if containers::initialized(pod, observed) {
        return Verdict::plain(true);
    }
    let waiting: Vec<&str> = containers::init_slots(pod)
        .filter(|slot| {
            let view = observed.view(slot.name());
            match slot.role {
                Role::Sidecar => !containers::is_started(slot.container, view),
                Role::Init | Role::Main => !containers::succeeded(view),
            }
        })
        .map(|slot| slot.name())
        .collect();
    let message = format!("containers with incomplete status: [{}]", waiting.join(" "));
    Verdict { holds: false, reason: "ContainersNotInitialized", message }
}

fn containers_ready(status: &PodStatus, pod: &Pod) -> Verdict {
    match status.phase.as_deref() {
        Some("Succeeded") => return Verdict::no("PodCompleted", String::new()),
        Some("Failed") => return Verdict::no("PodFailed", String::new()),
        _ => {}
    }
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let ready: Vec<&str> = statuses.filter(|status| status.ready).map(|status| status.name.as_str()).collect();
    let unready: Vec<&str> = containers::slots(pod)
        .filter(|slot| slot.role != Role::Init && !ready.contains(&slot.name()))
        .map(|slot| slot.name())
        .collect();
    if unready.is_empty() {
        return Verdict::plain(true);
    }
    Verdict::no("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
}

fn ready(containers: &Verdict, pod: &Pod, theirs: &[PodCondition]) -> Verdict {
    if !containers.holds {
        return Verdict::no(containers.reason, containers.message.clone());
    }
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let complaints: Vec<String> = gates
        .iter()
        .filter_map(|gate| {
            let name = &gate.condition_type;
            match theirs.iter().find(|condition| condition.type_ == *name) {
                None => Some(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
                Some(condition) if condition.status == "True" => None,
                Some(condition) => {
                    Some(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", condition.status))
                }
            }
        })
        .collect();
    if complaints.is_empty() {
        Verdict::plain(true)
    } else {
        Verdict::no("ReadinessGatesNotReady", complaints.join(", "))
    }
}

impl Verdict {
    fn plain(holds: bool) -> Self {
        Self { holds, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { holds: false, reason, message }
    }

    fn condition(
        self,
        name: &str,
        known: Option<&PodCondition>,
        generation: Option<i64>,
        now: Timestamp,
    ) -> PodCondition {
        let status = if self.holds { "True" } else { "False" };
        let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        PodCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: text(self.reason.to_owned()),
            message: text(self.message),
            last_probe_time: None,
            last_transition_time: since.or_else(|| Some(time(now))),
            observed_generation: generation,
        }
    }
}
