//! What planners ask of a pod: is it active, ready, available, and since when.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition};

use crate::model::Timestamp;

/// Whether the pod still counts towards its set: neither ended nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_ended(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether the pod has succeeded or failed.
pub fn is_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// The pod's phase; empty where it has none yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// One of the pod's conditions.
pub fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == name)
}

/// Whether the `Ready` condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// When the pod became ready, where it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map(|time| Timestamp::from(time.0)).unwrap_or_default())
}

/// How long until the pod has been ready for `min_ready`: zero where it has, `None` where it is not ready.
pub fn until_available(pod: &Pod, min_ready: Duration, now: Timestamp) -> Option<Duration> {
    Some(min_ready.saturating_sub(now.since(ready_since(pod)?)))
}
