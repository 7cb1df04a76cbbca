//! Nodes: taints that follow their conditions, and the readiness of pods that nobody can ask any more. Who has to leave
//! a tainted node is `taint_eviction`'s to say.

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use rand::RngCore;
use serde_json::{Value, json};

use super::{Command, Controller, Plan, Snapshot, readiness, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// A taint counts from the next whole second, so that nobody counts from before it was there; less than this.
const SECOND: std::time::Duration = std::time::Duration::from_micros(999_999);

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

/// Taints nodes. Its keys are nodes.
#[derive(Debug, Default)]
pub struct Nodes;

impl Controller for Nodes {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        marks(object, snapshot, |node| ready_status(node) == "Unknown")
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
        if ready_status(&node) == "Unknown" {
            for pod in snapshot.pods_on(&key.name) {
                plan.commands.extend(unready(pod, now)?);
            }
        }
        Ok(plan)
    }
}

/// A node marks itself; a pod marks its node where that is one in trouble.
pub(super) fn marks(object: &Object, snapshot: &Snapshot, in_trouble: impl Fn(&Node) -> bool) -> Vec<ObjectKey> {
    if object.key.is(id::NODES) {
        return vec![object.key.clone()];
    }
    let node = object.pod_node().map(|node| ObjectKey::new(id::NODES, "", node));
    let found = |key: &ObjectKey| snapshot.get(key).and_then(|node| node.view::<Node>().ok());
    node.filter(|key| found(key).is_some_and(|node| in_trouble(&node))).into_iter().collect()
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
                time_added: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    (now + SECOND).whole_seconds().jiff(),
                )),
                value: None,
            });
        }
    }
    (next != have).then_some(next)
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
