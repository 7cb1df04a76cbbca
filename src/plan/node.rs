//! Nodes: taints that follow their conditions, and the eviction of pods that do not tolerate them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use rand::RngCore;
use serde_json::{Value, json};

use super::scheduler::tolerates;
use super::{Command, Controller, Plan, Snapshot, readiness, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// Most pods evicted by one plan.
pub const BURST: usize = 500;

/// A taint that stands for a condition: the condition, the status that it stands for, the taint's key, its effects.
type Rule = (&'static str, &'static str, &'static str, &'static [&'static str]);

const RULES: &[Rule] = &[
    ("Ready", "False", "node.kubernetes.io/not-ready", &["NoSchedule", "NoExecute"]),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable", &["NoSchedule", "NoExecute"]),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure", &["NoSchedule"]),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure", &["NoSchedule"]),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure", &["NoSchedule"]),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", &["NoSchedule"]),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Taints nodes and evicts pods. Its keys are nodes.
#[derive(Debug, Default)]
pub struct Nodes;

impl Controller for Nodes {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::NODES) {
            return vec![object.key.clone()];
        }
        let node = object.pod_node().map(|node| ObjectKey::new(id::NODES, "", node));
        let alarmed = |key: &ObjectKey| {
            let node = snapshot.get(key).and_then(|node| node.view::<Node>().ok());
            node.is_some_and(|node| taints(&node).iter().any(|taint| taint.effect == "NoExecute"))
        };
        node.filter(alarmed).into_iter().collect()
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
        let mut plan = Plan::default();
        if let Some(next) = next_taints(&node, now) {
            let mut body = object.value()?;
            if body.get("spec").is_none_or(Value::is_null) {
                write::set(&mut body, "spec", json!({}));
            }
            if let Some(spec) = body.get_mut("spec") {
                write::set(spec, "taints", write::to_value(object, &next)?);
            }
            plan.commands.push(write::replace(object, None, body));
            return Ok(plan);
        }
        let fatal: Vec<&Taint> = taints(&node).iter().filter(|taint| taint.effect == "NoExecute").collect();
        let unreachable = ready_status(&node) == "Unknown";
        for pod in snapshot.pods_on(&key.name) {
            if unreachable {
                plan.commands.extend(unready(pod, now)?);
            }
            if !fatal.is_empty() && plan.commands.len() < BURST {
                evict(pod, &fatal, now, &mut plan)?;
            }
        }
        Ok(plan)
    }
}

fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn condition_status<'a>(node: &'a Node, name: &str) -> &'a str {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().find(|one| one.type_ == name).map_or("", |one| one.status.as_str())
}

/// A node that has never reported is not ready.
fn ready_status(node: &Node) -> &str {
    match condition_status(node, "Ready") {
        "" => "False",
        status => status,
    }
}

/// The node's taints as its conditions want them, where they differ from what they are.
fn next_taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let holds = |(condition, status, ..): &Rule| {
        if *condition == "Ready" { ready_status(node) == *status } else { condition_status(node, condition) == *status }
    };
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let rules = RULES.iter().flat_map(|rule| rule.3.iter().map(move |effect| (rule.2, *effect, holds(rule))));
    let all: Vec<(&str, &str, bool)> = rules.chain([(UNSCHEDULABLE, "NoSchedule", cordoned)]).collect();
    let have = taints(node);
    let is = |taint: &Taint, key: &str, effect: &str| taint.key == key && taint.effect == effect;
    let unwanted = |taint: &Taint| all.iter().any(|(key, effect, holds)| !holds && is(taint, key, effect));
    let mut next: Vec<Taint> = have.iter().filter(|taint| !unwanted(taint)).cloned().collect();
    for (key, effect, _) in all.iter().filter(|(.., holds)| *holds) {
        if !have.iter().any(|taint| is(taint, key, effect)) {
            next.push(Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                time_added: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now.whole_seconds().jiff())),
                value: None,
            });
        }
    }
    (next != have).then_some(next)
}

/// Evicts the pod now, or says when to look again; a pod that tolerates everything for good stays.
fn evict(object: &Object, fatal: &[&Taint], now: Timestamp, plan: &mut Plan) -> Result<(), DecodeError> {
    let pod = object.view::<Pod>()?;
    if object.is_terminating() || readiness::is_ended(&pod) {
        return Ok(());
    }
    let Some(left) = fatal.iter().filter_map(|taint| patience(&pod, taint, now)).min() else { return Ok(()) };
    if left.is_zero() {
        let message = format!("Marking for deletion Pod {}/{}", object.key.namespace, object.key.name);
        plan.commands.push(write::delete(object));
        plan.commands.push(write::event(object, false, "TaintManagerEviction", message));
    } else {
        plan.again_after = Some(plan.again_after.map_or(left, |again| again.min(left)));
    }
    Ok(())
}

/// How long the pod still tolerates the taint; `None`: for ever.
fn patience(pod: &Pod, taint: &Taint, now: Timestamp) -> Option<Duration> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let covering: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
    if covering.is_empty() {
        return Some(Duration::ZERO);
    }
    let seconds = covering.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
    let since = taint.time_added.as_ref().map_or(now, |time| Timestamp::from(time.0));
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).saturating_sub(now.since(since)))
}

/// Nobody can say that a pod on an unreachable node is ready.
fn unready(object: &Object, now: Timestamp) -> Result<Option<Command>, DecodeError> {
    if !readiness::is_ready(&*object.view::<Pod>()?) {
        return Ok(None);
    }
    let mut body = object.value()?;
    let conditions = body.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    let ready = conditions.into_iter().flatten().find(|one| one.get("type").and_then(Value::as_str) == Some("Ready"));
    if let Some(ready) = ready {
        write::set(ready, "status", "False".into());
        write::set(ready, "lastTransitionTime", now.rfc3339().into());
    }
    Ok(Some(write::replace(object, Some("status"), body)))
}
