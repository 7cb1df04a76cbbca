//! JSON patch (RFC 6902), with bounds on its operations and on what copies may add up to.

use json_patch::{Patch, PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::unprocessable;
use crate::kube::status::Status;

/// Most operations of one patch, as in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that all copies of one patch may add: a copy of a copy doubles.
const MAX_COPIED_BYTES: usize = 3 << 20;

pub(super) fn apply(current: &Value, patch: &Value) -> Result<Value, Status> {
    let Patch(operations) = serde::Deserialize::deserialize(patch)
        .map_err(|error| Status::bad_request(format!("invalid JSON patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
            ),
        ));
    }
    let mut patched = current.clone();
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        copied += copied_bytes(&patched, operation);
        if copied > MAX_COPIED_BYTES {
            return Err(unprocessable(&format!(
                "operation {index}: copies add up to more than {MAX_COPIED_BYTES} bytes"
            )));
        }
        json_patch::patch(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| unprocessable(&describe(index, operation, &error.kind)))?;
    }
    Ok(patched)
}

fn copied_bytes(document: &Value, operation: &PatchOperation) -> usize {
    match operation {
        PatchOperation::Copy(copy) => document.pointer(copy.from.as_str()).map_or(0, size),
        _ => 0,
    }
}

/// About how many bytes a value is, as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(list) => 2 + list.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(key, item)| key.len() + 4 + size(item)).sum::<usize>(),
    }
}

fn describe(index: usize, operation: &PatchOperation, kind: &PatchErrorKind) -> String {
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    let path = operation.path();
    match kind {
        PatchErrorKind::TestFailed => format!("testing path {path} failed (operation {index})"),
        PatchErrorKind::InvalidFromPointer => format!("{name} operation {index}: \"from\" does not exist"),
        PatchErrorKind::InvalidPointer => {
            format!("{name} operation {index} does not apply: doc is missing path: {path}")
        }
        other => format!("{name} operation {index} at {path}: {other}"),
    }
}
