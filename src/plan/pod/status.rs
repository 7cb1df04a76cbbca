//! The pod's status as Kubernetes reports it, from what is known.
//!
//! Rooms: `containers` their statuses, `phase` what they add up to, `conditions` the rest.

mod conditions;
mod containers;
mod phase;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::ending;
use super::observed::Observed;
use crate::model::Timestamp;

/// Reason of a pod that ran for longer than it may.
const DEADLINE_REASON: &str = "DeadlineExceeded";
/// Its message.
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// `name_namespace(uid)`, as messages name a pod.
pub fn printed_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// A point in time as objects carry it.
pub fn time(at: Timestamp) -> Time {
    Time(at.whole_seconds().jiff())
}

/// Whether the reported phase is final: it is kept whatever happens to the containers.
pub fn is_terminal(pod: &Pod, observed: &Observed) -> bool {
    matches!(final_phase(pod, observed), Some("Succeeded" | "Failed"))
}

fn final_phase<'a>(pod: &'a Pod, observed: &'a Observed) -> Option<&'a str> {
    base(pod, observed).and_then(|status| status.phase.as_deref())
}

fn base<'a>(pod: &'a Pod, observed: &'a Observed) -> Option<&'a PodStatus> {
    observed.reported.as_ref().or(pod.status.as_ref())
}

/// Whether every container has ended for good, so that the pod's end begins.
pub fn is_finished(pod: &Pod, observed: &Observed) -> bool {
    matches!(phase::compute(pod, observed), "Succeeded" | "Failed")
}

/// The whole status.
pub fn report(pod: &Pod, observed: &Observed, now: Timestamp) -> PodStatus {
    let before = base(pod, observed).cloned().unwrap_or_default();
    let mut status = PodStatus { observed_generation: pod.metadata.generation, ..before };
    addresses(&mut status, observed);
    status.start_time = observed.started_at.map(time).or(status.start_time);
    status.qos_class = Some(super::resources::qos_class(pod).to_owned());
    let was_final = is_terminal(pod, observed);
    containers::fill(&mut status, pod, observed, now);
    if !was_final {
        set_phase(&mut status, pod, observed, now);
    }
    conditions::fill(&mut status, pod, observed, now);
    status
}

fn set_phase(status: &mut PodStatus, pod: &Pod, observed: &Observed, now: Timestamp) {
    let late = ending::deadline(pod, observed).is_some_and(|deadline| deadline <= now);
    let deleting = pod.metadata.deletion_timestamp.is_some();
    let mut phase = phase::compute(pod, observed);
    if late && !deleting && !matches!(phase, "Succeeded" | "Failed") {
        status.reason = Some(DEADLINE_REASON.to_owned());
        status.message = Some(DEADLINE_MESSAGE.to_owned());
        phase = if observed.any_running() { "Running" } else { "Failed" };
    }
    if deleting && observed.ending_since.is_some() && !observed.any_running() {
        phase = phase::of_ended(pod, observed);
    }
    // While a container runs the pod is not over: its end is reported once.
    if matches!(phase, "Succeeded" | "Failed") && observed.any_running() {
        phase = "Running";
    }
    status.phase = Some(phase.to_owned());
}

fn addresses(status: &mut PodStatus, observed: &Observed) {
    let print = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    let hosts = print(&observed.node_ips);
    if let Some(first) = hosts.first() {
        status.host_ip = Some(first.clone());
        status.host_ips = Some(hosts.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    }
    let pods = print(&observed.addresses);
    if let Some(first) = pods.first() {
        status.pod_ip = Some(first.clone());
        status.pod_ips = Some(pods.iter().map(|ip| PodIP { ip: ip.clone() }).collect());
    }
}
