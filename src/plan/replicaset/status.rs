//! What a set's status counts, and when the count will change by time alone.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::SeenPod;
use super::set::Set;
use crate::model::Timestamp;
use crate::plan::{readiness, write};

const FAILURE: &str = "ReplicaFailure";

/// A status, and when a pod that is ready will have been so for long enough.
pub(super) struct Counted {
    pub status: ReplicaSetStatus,
    pub again_after: Option<Duration>,
}

/// Counts active pods. A failure condition stays until the set has the pods it asks for (`correcting` is false).
pub(super) fn count(set: &Set, pods: &[SeenPod], now: Timestamp, correcting: bool) -> Counted {
    let waits: Vec<Duration> =
        pods.iter().filter_map(|seen| readiness::until_available(&seen.pod, set.min_ready, now)).collect();
    let labelled = pods.iter().filter(|seen| carries_template_labels(set, seen)).count();
    let mut status = set.status.clone();
    status.replicas = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    status.fully_labeled_replicas = write::nonzero(labelled);
    status.ready_replicas = write::nonzero(waits.len());
    status.available_replicas = write::nonzero(waits.iter().filter(|wait| wait.is_zero()).count());
    status.observed_generation = set.object.meta.generation;
    if !correcting {
        drop_failure(&mut status);
    }
    Counted { status, again_after: waits.into_iter().filter(|wait| !wait.is_zero()).min() }
}

/// Says that pods could not be created or deleted.
pub(super) fn set_failure(status: &mut ReplicaSetStatus, reason: &str, message: &str, now: Timestamp) {
    let same = |one: &ReplicaSetCondition| {
        one.type_ == FAILURE && one.status == "True" && one.reason.as_deref() == Some(reason)
    };
    if status.conditions.iter().flatten().any(same) {
        return;
    }
    drop_failure(status);
    status.conditions.get_or_insert_default().push(ReplicaSetCondition {
        last_transition_time: Some(Time(now.whole_seconds().jiff())),
        message: Some(message.to_owned()),
        reason: Some(reason.to_owned()),
        status: "True".into(),
        type_: FAILURE.into(),
    });
}

fn drop_failure(status: &mut ReplicaSetStatus) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|one| one.type_ != FAILURE);
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

fn carries_template_labels(set: &Set, seen: &SeenPod) -> bool {
    let labels = seen.object.meta.labels.as_ref();
    set.template_labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}
