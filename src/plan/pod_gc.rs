//! Pods that nobody else will clear away: too many that have ended, those of nodes that are gone, and those deleted
//! before they had a node.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rand::RngCore;

use super::{Command, Controller, Plan, Snapshot, disruption, fencing, readiness};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// Ended pods that are kept, as Kubernetes sets it.
pub const KEPT_ENDED: usize = 12_500;
/// How long a pod waits for its node to come back.
pub const QUARANTINE: Duration = Duration::from_secs(40);
/// Most pods deleted by one plan.
pub const BURST: usize = 500;
const REASON: &str = "DeletionByPodGC";

/// Clears pods away. Its keys are pods, and one that stands for all ended ones.
#[derive(Debug, Default)]
pub struct PodGc;

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::NODES) && snapshot.get(&object.key).is_none() {
            return snapshot.pods_on(&object.key.name).map(|pod| pod.key.clone()).collect();
        }
        if !object.key.is(id::PODS) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        let nodeless = object.pod_node().is_none_or(|node| node_is_gone(node, snapshot));
        if nodeless && (object.is_terminating() || object.pod_node().is_some()) {
            keys.push(object.key.clone());
        }
        if object.is_ended_pod() {
            keys.push(all_ended());
        }
        keys
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        if *key == all_ended() {
            return Ok(Plan { commands: trim(snapshot), again_after: None });
        }
        let Some(object) = snapshot.get(key) else { return Ok(Plan::default()) };
        match object.pod_node() {
            None if object.is_terminating() => Ok(Plan { commands: vec![remove(object)], again_after: None }),
            Some(node) if node_is_gone(node, snapshot) => quarantine(object, now),
            _ => Ok(Plan::default()),
        }
    }
}

fn all_ended() -> ObjectKey {
    ObjectKey::new(id::PODS, "", "")
}

fn node_is_gone(node: &str, snapshot: &Snapshot) -> bool {
    snapshot.get(&ObjectKey::new(id::NODES, "", node)).is_none()
}

/// Deletes without grace: there is no node to give it.
fn remove(object: &Object) -> Command {
    Command::Delete {
        key: object.key.clone(),
        uid: Some(object.uid().to_owned()),
        propagation: None,
        grace_seconds: Some(0),
    }
}

/// First says in a condition that the pod is lost; a while after that, unless the node came back, deletes it. One that
/// must not run twice waits until a node that was removed while it was cut off must have stopped it.
fn quarantine(object: &Object, now: Timestamp) -> Result<Plan, DecodeError> {
    let pod = object.view::<Pod>()?;
    let condition = readiness::condition(&pod, "DisruptionTarget");
    let Some(said) = condition.filter(|one| one.reason.as_deref() == Some(REASON)) else {
        let command = disruption::target(object, REASON, "PodGC: node no longer exists", now)?;
        return Ok(Plan { commands: vec![command], again_after: Some(QUARANTINE) });
    };
    let since = said.last_transition_time.as_ref().map(|time| Timestamp::from(time.0)).unwrap_or_default();
    let wait = QUARANTINE + fencing::tolerated(object)?.unwrap_or_default();
    let left = wait.saturating_sub(now.since(since));
    if left.is_zero() {
        return Ok(Plan { commands: vec![remove(object)], again_after: None });
    }
    Ok(Plan { commands: Vec::new(), again_after: Some(left) })
}

/// Deletes the oldest ended pods beyond what is kept.
fn trim(snapshot: &Snapshot) -> Vec<Command> {
    let pods = snapshot.list(id::PODS, None);
    let mut ended: Vec<_> = pods.filter(|pod| pod.is_ended_pod() && !pod.is_terminating()).collect();
    let surplus = ended.len().saturating_sub(KEPT_ENDED).min(BURST);
    if surplus > 0 {
        ended.sort_by_key(|object| object.meta.creation_timestamp.as_ref().map(|time| time.0));
    }
    ended.into_iter().take(surplus).map(|object| remove(object)).collect()
}
