//! What a pod that fits nowhere is told: how many nodes failed for which reason.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::Verdict;
use super::request::Wanted;
use crate::kube::object::DecodeError;
use crate::model::Timestamp;
use crate::plan::{Command, readiness, write};

/// The event and the condition, where they would say something new.
pub(super) fn unschedulable(
    wanted: &Wanted,
    verdicts: &[Verdict],
    now: Timestamp,
) -> Result<Vec<Command>, DecodeError> {
    let message = message(wanted, verdicts);
    let current = readiness::condition(&wanted.pod, "PodScheduled");
    if current.is_some_and(|one| one.status == "False" && one.message.as_deref() == Some(&message)) {
        return Ok(Vec::new());
    }
    let since = current.filter(|one| one.status == "False").and_then(|one| one.last_transition_time.as_ref());
    let since = since.map_or_else(|| now, |time| Timestamp::from(time.0)).rfc3339();
    let condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": since,
        "observedGeneration": wanted.object.meta.generation,
    });
    let event = write::event(&wanted.object, true, "FailedScheduling", message);
    Ok(vec![event, with_condition(wanted, condition)?])
}

fn with_condition(wanted: &Wanted, condition: Value) -> Result<Command, DecodeError> {
    let mut body = wanted.object.value()?;
    let mut status = body.get_mut("status").map(Value::take).filter(Value::is_object).unwrap_or_else(|| json!({}));
    let mut conditions = match status.get_mut("conditions").map(Value::take) {
        Some(Value::Array(conditions)) => conditions,
        _ => Vec::new(),
    };
    conditions.retain(|one| one.get("type").and_then(Value::as_str) != Some("PodScheduled"));
    conditions.push(condition);
    write::set(&mut status, "conditions", conditions.into());
    write::set(&mut body, "status", status);
    Ok(write::replace(&wanted.object, Some("status"), body))
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ...`
fn message(wanted: &Wanted, verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return "no nodes available to schedule pods".into();
    }
    let reasons = verdicts.iter().flatten().map(|refusal| refusal.reason.as_str());
    let filtered = sentence(verdicts.len(), reasons);
    if wanted.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return format!("{filtered} preemption: not eligible due to preemptionPolicy=Never.");
    }
    let cures = verdicts.iter().map(|verdict| {
        if verdict.iter().all(|refusal| refusal.curable) {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    });
    format!("{filtered} preemption: {}", sentence(verdicts.len(), cures))
}

fn sentence<'a>(nodes: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}
