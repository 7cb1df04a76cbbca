//! What a planner may ask for. The executor makes no choice of its own; a stale command loses by its revision.

use serde_json::Value;

use crate::model::{ObjectKey, ResourceId, Revision};

/// One write, carried out through the same request path (admission, strategy, store) that clients use.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Creates an object. `body.metadata` has `name` or `generateName`. "Already exists" is not a failure.
    Create {
        /// What.
        resource: ResourceId,
        /// Empty for cluster-scoped objects.
        namespace: String,
        /// The object.
        body: Value,
    },
    /// Replaces an object, or one of its subresources (`status`, `scale`), read at `revision`.
    Update {
        /// Which.
        key: ObjectKey,
        /// `None` for the object itself.
        subresource: Option<&'static str>,
        /// The revision that the body was made from; a conflict means: plan again.
        revision: Revision,
        /// The whole object.
        body: Value,
    },
    /// Merge-patches (RFC 7396) an object or a subresource, whatever its revision.
    Patch {
        /// Which.
        key: ObjectKey,
        /// `None` for the object itself.
        subresource: Option<&'static str>,
        /// The merge patch.
        body: Value,
    },
    /// Binds a pod to a node.
    Bind {
        /// The pod.
        key: ObjectKey,
        /// The pod's uid, as planned from.
        uid: String,
        /// The node.
        node: String,
    },
    /// Deletes an object. "Not found" is not a failure.
    Delete {
        /// Which.
        key: ObjectKey,
        /// Only this incarnation, where given.
        uid: Option<String>,
        /// `Background`, `Foreground` or `Orphan`; `None` for the resource's default.
        propagation: Option<Propagation>,
        /// Grace in seconds; `None` for the object's own.
        grace_seconds: Option<i64>,
    },
    /// Records an event about an object (series and counting are the recorder's).
    Event {
        /// About which.
        regarding: Box<Regarding>,
        /// `Normal` or `Warning`.
        warning: bool,
        /// CamelCase reason, e.g. `FailedScheduling`.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

impl Command {
    /// What it does, in a word, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Patch { .. } => "patch",
            Self::Bind { .. } => "bind",
            Self::Delete { .. } => "delete",
            Self::Event { .. } => "event",
        }
    }
}

/// What happens to the objects that an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes at once, its dependents after it.
    Background,
    /// Dependents with `blockOwnerDeletion` go first.
    Foreground,
    /// Dependents stay and lose the reference.
    Orphan,
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regarding {
    /// Where it lives.
    pub key: ObjectKey,
    /// `v1`, `apps/v1`, ...
    pub api_version: String,
    /// `Pod`, ...
    pub kind: String,
    /// Its uid.
    pub uid: String,
    /// Sub-part, e.g. `spec.containers{web}`; empty for the whole.
    pub field_path: String,
}
