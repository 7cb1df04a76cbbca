//! What a DELETE means for an object: gone at once, marked and waited for, or already on its way.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kube::resource::Resource;
use crate::model::Timestamp;

/// What becomes of the objects that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay and lose their owner.
    Orphan,
    /// They are deleted after it is gone.
    Background,
    /// They are deleted before it goes.
    Foreground,
}

/// What a DELETE does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// The object is removed in this write.
    Now,
    /// The object is marked (see [`mark`]) and removed when [`finished`] says so.
    Mark(Mark),
    /// The object is on its way already; nothing is written.
    Pending,
}

/// How an object is marked for deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Time that it has to end by itself, from when deletion was first asked for.
    pub grace_seconds: i64,
    /// All its finalizers from now on.
    pub finalizers: Vec<String>,
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

impl Propagation {
    /// Reads `Orphan`, `Background`, `Foreground`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Orphan" => Some(Self::Orphan),
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            _ => None,
        }
    }
}

/// Decides a DELETE. `grace_seconds` and `propagation` are what the client asked for; `None` leaves it to the object.
pub fn deletion(
    res: &Resource,
    value: &Value,
    grace_seconds: Option<i64>,
    propagation: Option<Propagation>,
) -> Deletion {
    let before = finalizers(value);
    let after = finalizers_after(&before, propagation);
    let held = !after.is_empty() || res.kind == "Namespace" && has_namespace_finalizers(value);
    let grace = if res.kind == "Pod" { pod_grace(value, grace_seconds) } else { 0 };
    if value["metadata"]["deletionTimestamp"].is_null() {
        return if held || grace > 0 {
            Deletion::Mark(Mark { grace_seconds: grace, finalizers: after })
        } else {
            Deletion::Now
        };
    }
    let current = value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let asked = if res.kind == "Pod" && grace_seconds.is_none() && grace > 0 { current } else { grace.min(current) };
    match (asked, held) {
        (0, false) => Deletion::Now,
        (asked, _) if asked < current || before != after => {
            Deletion::Mark(Mark { grace_seconds: asked, finalizers: after })
        }
        _ => Deletion::Pending,
    }
}

/// Writes a [`Deletion::Mark`] into the object.
pub fn mark(res: &Resource, value: &mut Value, mark: &Mark, now: Timestamp) {
    if res.kind == "Namespace" {
        set(value, "status", "phase", json!("Terminating"));
    }
    let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let grace = Duration::from_secs(u64::try_from(mark.grace_seconds).unwrap_or(0));
    let stated = |name: &str| meta.get(name).and_then(Value::as_str).and_then(Timestamp::parse);
    let asked_at = stated("deletionTimestamp").map_or(now, |until| {
        let current = meta.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        Timestamp(until.0.saturating_sub(current.saturating_mul(1_000_000)))
    });
    if stated("deletionTimestamp").is_none()
        && let Some(generation) = meta.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0)
    {
        meta.insert("generation".into(), generation.saturating_add(1).into());
    }
    meta.insert("deletionTimestamp".into(), (asked_at + grace).rfc3339().into());
    meta.insert("deletionGracePeriodSeconds".into(), mark.grace_seconds.into());
    if mark.finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), json!(mark.finalizers));
    }
}

/// Whether nothing holds a marked object any more: an update that leaves it so removes it.
pub fn finished(res: &Resource, value: &Value) -> bool {
    let meta = &value["metadata"];
    !meta["deletionTimestamp"].is_null()
        && meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && finalizers(value).is_empty()
        && !(res.kind == "Namespace" && has_namespace_finalizers(value))
}

fn finalizers(value: &Value) -> Vec<String> {
    let list = value["metadata"]["finalizers"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has_namespace_finalizers(value: &Value) -> bool {
    value["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

/// The client's policy replaces whatever policy the finalizers expressed; without one, that stays.
fn finalizers_after(before: &[String], propagation: Option<Propagation>) -> Vec<String> {
    let Some(propagation) = propagation else { return before.to_vec() };
    let mut after: Vec<String> = before.iter().filter(|name| *name != ORPHAN && *name != FOREGROUND).cloned().collect();
    match propagation {
        Propagation::Orphan => after.push(ORPHAN.into()),
        Propagation::Foreground => after.push(FOREGROUND.into()),
        Propagation::Background => {}
    }
    after
}

/// A pod that runs nowhere, or runs no more, needs no time to end.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let unbound = pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if unbound || ended {
        return 0;
    }
    let grace = asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0);
    // Kubernetes counts a negative period as one second.
    if grace < 0 { 1 } else { grace }
}

fn set(value: &mut Value, part: &str, field: &str, to: Value) {
    let Some(object) = value.as_object_mut() else { return };
    if let Some(part) = object.entry(part).or_insert_with(|| json!({})).as_object_mut() {
        part.insert(field.into(), to);
    }
}
