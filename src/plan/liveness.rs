//! Which nodes are declared dead: gossip suspects, and who leads the quorum writes it down once a node has been silent
//! for long enough.
//!
//! Rooms: `doubts` what gossip suspects, since when, and which of it planners are told.

pub mod doubts;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{Command, Snapshot};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::Timestamp;

/// How long a node that gossip has never heard of is waited for: after a start, everybody is new.
pub const UNHEARD_OF: Duration = Duration::from_secs(10);

/// After how much silence a death is decided on, so that it is written down within `declare_after` of the death: the other
/// half is for gossip's first doubt or another leader's election, for late timers, and for the write.
pub fn decide_after(declare_after: Duration) -> Duration {
    declare_after / 2
}

/// What gossip knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It answers, or may still.
    Alive,
    /// It has been silent for this long.
    Silent(Duration),
    /// It was decided that it is dead, and may not have been written down.
    Condemned,
    /// Nobody has heard of it, for this long.
    Unknown(Duration),
}

/// Declares every node that has been silent for `decide_after` and is not declared yet: all its conditions become
/// `Unknown`. A node that comes back writes its own conditions.
///
/// # Errors
/// Where a node cannot be decoded; nothing is declared then.
pub fn declare(
    snapshot: &Snapshot,
    seen: impl Fn(&str) -> Seen,
    decide_after: Duration,
    now: Timestamp,
) -> Result<Vec<Command>, DecodeError> {
    let mut commands = Vec::new();
    for object in snapshot.list(id::NODES, None) {
        let gone = match seen(&object.key.name) {
            Seen::Alive => false,
            Seen::Silent(silent) => silent >= decide_after,
            Seen::Condemned => true,
            Seen::Unknown(since) => since.min(age(object, now)) >= UNHEARD_OF.max(decide_after),
        };
        if gone {
            commands.extend(unknown(object, now)?);
        }
    }
    Ok(commands)
}

/// A node that joins has its object before anybody has heard of it.
fn age(object: &Object, now: Timestamp) -> Duration {
    object.meta.creation_timestamp.as_ref().map_or(Duration::MAX, |made| now.since(Timestamp::from(made.0)))
}

/// The conditions that a kubelet reports (`NodeConditionType` of Kubernetes); those of others stay.
const OWN: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

fn unknown(object: &Object, now: Timestamp) -> Result<Option<Command>, DecodeError> {
    let node = object.view::<Node>()?;
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let declared = |kind: &str| conditions.iter().any(|one| one.type_ == kind && one.status == "Unknown");
    if declared("Ready") {
        return Ok(None);
    }
    let body = object.value()?;
    let known = body.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_own = |one: &Value| one.get("type").and_then(Value::as_str).is_some_and(|kind| OWN.contains(&kind));
    let theirs = known.iter().filter(|one| !is_own(one)).cloned();
    let own = OWN.iter().map(|kind| {
        json!({
            "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
            "lastHeartbeatTime": known.iter().find(|one| one.get("type").is_some_and(|of| of == kind))
                .and_then(|one| one.get("lastHeartbeatTime")).cloned().unwrap_or_else(|| json!(now.rfc3339())),
            "lastTransitionTime": now.rfc3339(),
        })
    });
    let all: Vec<Value> = own.chain(theirs).collect();
    let body = json!({ "status": { "conditions": all } });
    Ok(Some(Command::Patch { key: object.key.clone(), subresource: Some("status"), body }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ObjectKey, Revision};

    fn nodes(ready: &[(&str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (revision, (name, status)) in (1..).zip(ready) {
            let body = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "uid": name },
                "status": { "conditions": [
                    { "type": "Ready", "status": status, "lastHeartbeatTime": "2026-01-01T00:00:00Z" },
                    { "type": "KernelDeadlock", "status": "False" },
                ] },
            });
            let key = ObjectKey::new(id::NODES, "", name);
            let bytes = serde_json::to_vec(&body).unwrap().into();
            snapshot.put(Arc::new(Object::new(key, Revision(revision), bytes).unwrap()));
        }
        snapshot
    }

    fn declared(ready: &[(&str, &str)], seen: Seen) -> Vec<Command> {
        declare(&nodes(ready), |_| seen, Duration::from_secs(3), Timestamp::default()).unwrap()
    }

    #[test]
    fn a_silent_node_is_declared_once_and_conditions_of_others_stay() {
        let commands = declared(&[("a", "True"), ("b", "Unknown")], Seen::Silent(Duration::from_secs(3)));
        let [Command::Patch { key, body, .. }] = &commands[..] else { panic!("{commands:?}") };
        assert_eq!(&*key.name, "a");
        let conditions = body.pointer("/status/conditions").unwrap().as_array().unwrap();
        let of = |kind: &str| conditions.iter().find(|one| one["type"] == kind).unwrap();
        assert_eq!(of("Ready")["status"], "Unknown");
        assert_eq!(of("Ready")["lastHeartbeatTime"], "2026-01-01T00:00:00Z");
        assert_eq!(of("KernelDeadlock")["status"], "False");
    }

    #[test]
    fn a_node_that_lives_or_was_not_heard_of_for_a_moment_is_left_alone() {
        assert_eq!(declared(&[("a", "True")], Seen::Alive), []);
        assert_eq!(declared(&[("a", "True")], Seen::Silent(Duration::from_millis(2_999))), []);
        assert_eq!(declared(&[("a", "True")], Seen::Condemned).len(), 1);
        assert_eq!(declared(&[("a", "True")], Seen::Unknown(Duration::from_secs(9))), []);
        assert_eq!(declared(&[("a", "True")], Seen::Unknown(UNHEARD_OF)).len(), 1);
        let mut young = nodes(&[]);
        let made = json!({ "metadata": { "name": "c", "uid": "c", "creationTimestamp": "1970-01-01T00:00:00Z" } });
        let key = ObjectKey::new(id::NODES, "", "c");
        young.put(Arc::new(Object::new(key, Revision(9), made.to_string().into()).unwrap()));
        let unheard =
            |now| declare(&young, |_| Seen::Unknown(Duration::MAX), Duration::from_secs(3), now).unwrap().len();
        assert_eq!((unheard(Timestamp(9_000_000)), unheard(Timestamp(10_000_000))), (0, 1));
    }
}
