//! The patch languages: an object and a patch in, the patched object out.
//!
//! Rooms: `json` RFC 6902, `strategic` Kubernetes' own merge that knows the types, `lists` how it merges lists. Merge
//! patch (RFC 7396) is here. Server-side apply is not a patch of a document and lives elsewhere.

mod json;
mod lists;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::status::Status;

pub use self::strategic::{FieldRule, Types};

/// A patch language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6902: a list of operations.
    Json,
    /// RFC 7396: a partial object, lists replaced whole.
    Merge,
    /// A partial object, lists merged as their type says.
    Strategic,
}

impl Kind {
    /// The language of a `Content-Type`; parameters such as `charset` are ignored.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }
}

/// Applies a patch to an object of the type (full schema name, e.g. `io.k8s.api.core.v1.Pod`).
///
/// # Errors
/// 400 where the patch is not of its language; 413 where it has too many operations; 422 where it does not fit the
/// object.
pub fn apply(kind: Kind, type_name: &str, current: &Value, patch: &Value) -> Result<Value, Status> {
    let patched = match kind {
        Kind::Json => json::apply(current, patch)?,
        Kind::Merge => merge(current, patch)?,
        Kind::Strategic => strategic::apply(&strategic::Schema, type_name, current, patch)?,
    };
    if patched.is_object() { Ok(patched) } else { Err(unprocessable("the patch leaves no object")) }
}

fn merge(current: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() {
        return Err(Status::bad_request("a merge patch must be a JSON object"));
    }
    let mut patched = current.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

/// 422, with Kubernetes' sentence and what it leaves out: the reason.
fn unprocessable(reason: &str) -> Status {
    Status::new(422, "Invalid", format!("the server rejected our request due to an error in our request: {reason}"))
}
