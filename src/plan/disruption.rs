//! The pod condition `DisruptionTarget`: says, before a pod is deleted, who takes it away and why.

use serde_json::{Value, json};

use super::{Command, write};
use crate::kube::object::{DecodeError, Object};
use crate::model::Timestamp;

const TYPE: &str = "DisruptionTarget";

/// Writes the condition, in place of one that says something else.
///
/// # Errors
/// Where the pod is not JSON.
pub fn target(object: &Object, reason: &str, message: &str, now: Timestamp) -> Result<Command, DecodeError> {
    let condition = json!({
        "type": TYPE,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": now.rfc3339(),
    });
    let mut body = object.value()?;
    if body.get("status").is_none_or(Value::is_null) {
        write::set(&mut body, "status", json!({}));
    }
    if let Some(Value::Object(status)) = body.get_mut("status") {
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.retain(|one| one.get("type").and_then(Value::as_str) != Some(TYPE));
            conditions.push(condition);
        }
    }
    Ok(write::replace(object, Some("status"), body))
}
