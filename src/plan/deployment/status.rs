//! A deployment's counts and conditions.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::read::Rollout;
use crate::model::Timestamp;

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const FAILURE: &str = "ReplicaFailure";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
/// The value of `progressDeadlineSeconds` that means "none".
const NO_DEADLINE: i32 = i32::MAX;

impl Rollout<'_> {
    /// Whether progress is watched at all.
    pub(super) fn has_deadline(&self) -> bool {
        self.spec.progress_deadline_seconds.is_some_and(|seconds| seconds != NO_DEADLINE)
    }

    /// Says that the deployment was paused or resumed, so that the time in between does not count as no progress.
    pub(super) fn note_pause(&mut self) {
        let reason = find(&self.status, PROGRESSING).and_then(|condition| condition.reason.as_deref());
        if !self.has_deadline() || reason == Some(TIMED_OUT) {
            return;
        }
        let was_paused = reason == Some(PAUSED);
        if self.paused() && !was_paused {
            self.set_condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused");
        } else if !self.paused() && was_paused {
            self.set_condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }

    /// Counts, and whether enough pods are available.
    pub(super) fn sync_status_only(&mut self) {
        self.status = self.counted();
        let enough = self.status.available_replicas.unwrap_or(0) >= self.desired() - self.max_unavailable();
        if enough {
            let message = "Deployment has minimum availability.";
            self.set_condition(AVAILABLE, "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set_condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
        }
    }

    /// Counts, availability, and whether the rollout moves on.
    pub(super) fn sync_rollout_status(&mut self) {
        self.sync_status_only();
        if self.has_deadline() {
            self.judge_progress();
        } else {
            self.drop_condition(PROGRESSING);
        }
        self.copy_failure();
        self.watch_deadline();
    }

    /// The status with fresh counts and the conditions as they are.
    pub(super) fn counted(&self) -> DeploymentStatus {
        let available = self.total_available();
        let sum = |count: fn(&super::read::Set) -> i32| self.sets.iter().map(count).sum::<i32>();
        let some = |count: i32| (count > 0).then_some(count);
        DeploymentStatus {
            observed_generation: self.object.meta.generation,
            replicas: some(sum(|set| set.status.replicas)),
            updated_replicas: some(self.new_set().map_or(0, |set| set.status.replicas)),
            ready_replicas: some(sum(|set| set.status.ready_replicas.unwrap_or(0))),
            available_replicas: some(available),
            unavailable_replicas: some(self.total_asked() - available),
            ..self.status.clone()
        }
    }

    /// Whether every pod asked for is new and available, and no old one is left.
    pub(super) fn is_complete(&self, status: &DeploymentStatus) -> bool {
        let all = |count: Option<i32>| count.unwrap_or(0) == self.desired();
        all(status.updated_replicas)
            && all(status.replicas)
            && all(status.available_replicas)
            && status.observed_generation >= self.object.meta.generation
    }

    fn judge_progress(&mut self) {
        let current = find(&self.status, PROGRESSING).cloned();
        let reason = current.as_ref().and_then(|condition| condition.reason.as_deref());
        let rolled_out = self.status.replicas == self.status.updated_replicas && reason == Some(DONE);
        if rolled_out {
            return;
        }
        let what = match self.new_set() {
            Some(set) => format!("ReplicaSet {:?}", set.name),
            None => format!("Deployment {:?}", &*self.object.key.name),
        };
        if self.is_complete(&self.status) {
            self.set_condition(PROGRESSING, "True", DONE, &format!("{what} has successfully progressed."));
        } else if self.has_moved() {
            let message = format!("{what} is progressing.");
            self.touch_progress(current.as_ref(), &message);
        } else if self.is_overdue(current.as_ref()) {
            self.set_condition(PROGRESSING, "False", TIMED_OUT, &format!("{what} has timed out progressing."));
        }
    }

    fn has_moved(&self) -> bool {
        let (seen, now) = (&self.seen_status, &self.status);
        let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
        now.updated_replicas > seen.updated_replicas
            || old(now) < old(seen)
            || now.ready_replicas > seen.ready_replicas
            || now.available_replicas > seen.available_replicas
    }

    /// Progress moves `lastUpdateTime`, and `lastTransitionTime` only where the status was not `True` before.
    fn touch_progress(&mut self, current: Option<&DeploymentCondition>, message: &str) {
        self.drop_condition(PROGRESSING);
        self.set_condition(PROGRESSING, "True", "ReplicaSetUpdated", message);
        let kept = current.filter(|condition| condition.status == "True");
        let conditions = self.status.conditions.iter_mut().flatten();
        if let Some((condition, kept)) = conditions.filter(|one| one.type_ == PROGRESSING).last().zip(kept) {
            condition.last_transition_time.clone_from(&kept.last_transition_time);
        }
    }

    fn is_overdue(&self, current: Option<&DeploymentCondition>) -> bool {
        let Some(condition) = current else { return false };
        match condition.reason.as_deref() {
            Some(DONE) => false,
            Some(TIMED_OUT) => true,
            _ => self.until_deadline(condition).is_zero(),
        }
    }

    fn until_deadline(&self, condition: &DeploymentCondition) -> Duration {
        let since = condition.last_update_time.as_ref().map(|time| Timestamp::from(time.0)).unwrap_or_default();
        let seconds = u64::try_from(self.spec.progress_deadline_seconds.unwrap_or(0)).unwrap_or(0);
        Duration::from_secs(seconds).saturating_sub(self.now.since(since))
    }

    /// Asks to be called when the deadline of an unfinished rollout comes.
    fn watch_deadline(&mut self) {
        let Some(condition) = find(&self.status, PROGRESSING).filter(|_| self.has_deadline()) else { return };
        if !matches!(condition.reason.as_deref(), Some(DONE | TIMED_OUT)) && !self.is_complete(&self.status) {
            self.again_after = Some(self.until_deadline(condition) + Duration::from_secs(1));
        }
    }

    /// A set that cannot make pods says so; the deployment repeats it (the new set's word first).
    fn copy_failure(&mut self) {
        let sets = self.new_set().into_iter().chain(&self.sets);
        let failure = sets.flat_map(|set| set.status.conditions.iter().flatten()).find(|one| one.type_ == FAILURE);
        let Some(failure) = failure.cloned() else { return self.drop_condition(FAILURE) };
        let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
        self.set_condition(FAILURE, &failure.status, &reason, &message);
    }

    /// Sets a condition; nothing changes where status and reason are as they were.
    pub(super) fn set_condition(&mut self, name: &str, status: &str, reason: &str, message: &str) {
        let now = Some(Time(self.now.whole_seconds().jiff()));
        let current = find(&self.status, name);
        if current.is_some_and(|one| one.status == status && one.reason.as_deref() == Some(reason)) {
            return;
        }
        let kept = current.filter(|one| one.status == status).and_then(|one| one.last_transition_time.clone());
        let condition = DeploymentCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: kept.or_else(|| now.clone()),
            last_update_time: now,
        };
        self.drop_condition(name);
        self.status.conditions.get_or_insert_default().push(condition);
    }

    fn drop_condition(&mut self, name: &str) {
        if let Some(conditions) = &mut self.status.conditions {
            conditions.retain(|one| one.type_ != name);
        }
    }
}

/// One of a deployment's conditions.
pub(super) fn find<'a>(status: &'a DeploymentStatus, name: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name)
}
