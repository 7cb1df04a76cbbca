//! Takes pods off nodes whose `NoExecute` taints they do not tolerate, or no longer.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use rand::RngCore;

use super::scheduler::tolerates;
use super::{Controller, Plan, Snapshot, disruption, fencing, readiness, write};
use crate::kube::object::{DecodeError, Object};
use crate::model::{ObjectKey, Timestamp};

/// Most pods evicted by one plan; the first of them to go marks the node again.
pub const BURST: usize = 500;
/// Reason of the condition, as Kubernetes calls it.
const REASON: &str = "DeletionByTaintManager";

/// Evicts pods. Its keys are nodes.
#[derive(Debug, Default)]
pub struct TaintEviction;

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        super::node::marks(object, snapshot, |node| fatal(node).next().is_some())
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let Some(object) = snapshot.get(key) else { return Ok(Plan::default()) };
        let node = object.view::<Node>()?;
        let fatal: Vec<&Taint> = fatal(&node).collect();
        let (mut plan, mut evicted) = (Plan::default(), 0);
        if fatal.is_empty() {
            return Ok(plan);
        }
        for pod in snapshot.pods_on(&key.name) {
            match left(pod, &fatal, now)? {
                Some(left) if left.is_zero() && evicted < BURST => {
                    evict(pod, now, &mut plan)?;
                    evicted += 1;
                }
                Some(left) => plan.again_after = Some(plan.again_after.map_or(left, |again| again.min(left))),
                None => {}
            }
        }
        Ok(plan)
    }
}

fn fatal(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| taint.effect == "NoExecute")
}

/// How long the pod may still stay; `None`: for good, or it goes already.
fn left(object: &Object, fatal: &[&Taint], now: Timestamp) -> Result<Option<Duration>, DecodeError> {
    let pod = object.view::<Pod>()?;
    if object.is_terminating() || readiness::is_ended(&pod) {
        return Ok(None);
    }
    let one = |taint: &&Taint| {
        let since = taint.time_added.as_ref().map_or(now, |time| Timestamp::from(time.0));
        Some(patience(object, &pod, taint)?.saturating_sub(now.since(since)))
    };
    Ok(fatal.iter().filter_map(one).min())
}

/// How long the pod tolerates the taint in all; `None`: for ever. One that must not run twice stays on an unreachable
/// node for as long as that needs to stop it.
pub(super) fn patience(object: &Object, pod: &Pod, taint: &Taint) -> Option<Duration> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let covering: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
    let seconds = if covering.is_empty() {
        0
    } else {
        covering.iter().filter_map(|toleration| toleration.toleration_seconds).min()?
    };
    let own = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let fenced = taint.key == fencing::UNREACHABLE && fencing::is_at_most_one(object);
    Some(if fenced { own.max(fencing::LEAST_TOLERATION) } else { own })
}

fn evict(object: &Object, now: Timestamp, plan: &mut Plan) -> Result<(), DecodeError> {
    let why = "Taint manager: deleting due to NoExecute taint";
    plan.commands.push(disruption::target(object, REASON, why, now)?);
    plan.commands.push(write::delete(object));
    let message = format!("Marking for deletion Pod {}/{}", object.key.namespace, object.key.name);
    plan.commands.push(write::event(object, false, "TaintManagerEviction", message));
    Ok(())
}
