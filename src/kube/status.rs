//! The `Status` object: every failure that a client sees.

use serde_json::{Value, json};

/// A failure, as `metav1.Status`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, e.g. `NotFound`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The object that it is about.
    pub about: Option<About>,
    /// One per field that is wrong.
    pub causes: Vec<Cause>,
    /// Seconds after which to try again.
    pub retry_after_seconds: Option<u32>,
    /// Where an expired list may be continued at a newer revision.
    pub continue_token: Option<String>,
    /// For a `Warning` header: what a reader of the failure must know, e.g. that it may be stale.
    pub warning: Option<String>,
}

/// The object that a failure is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// API group; empty for core.
    pub group: String,
    /// Plural for missing or conflicting objects, kind for invalid ones, as Kubernetes has it.
    pub kind: String,
    /// Name; may be empty.
    pub name: String,
    /// Uid; may be empty.
    pub uid: String,
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported`, `FieldValueDuplicate`,
    /// `FieldValueForbidden`, `FieldValueTooLong`, `FieldValueTypeInvalid`, ...
    pub reason: &'static str,
    /// For people, without the field's path.
    pub message: String,
    /// Path, e.g. `spec.containers[0].image`.
    pub field: String,
}

impl Status {
    /// A failure with no details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            about: None,
            causes: Vec::new(),
            retry_after_seconds: None,
            continue_token: None,
            warning: None,
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404 for one object; `plural` as in URLs.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(plural, group)))
            .about(group, plural, name)
    }

    /// 404 for a path that leads nowhere. Its details are there and empty, which clients rely on.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").about("", "", "")
    }

    /// 409 for a name that is taken.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(plural, group)))
            .about(group, plural, name)
    }

    /// 409 for a write that was made from an old version.
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(plural, group);
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} {name:?}: {why}"))
            .about(group, plural, name)
    }

    /// 403.
    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(plural, group);
        Self::new(403, "Forbidden", format!("{what} {name:?} is forbidden: {why}")).about(group, plural, name)
    }

    /// 422 with its causes.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let text: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let list = match text.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let what = qualified(kind, group);
        let mut status = Self::new(422, "Invalid", format!("{what} {name:?} is invalid: {list}"));
        status.causes = causes;
        status.about(group, kind, name)
    }

    /// 410.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {}", message.into()))
    }

    /// Says which object the failure is about.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.about = Some(About { group: group.into(), kind: kind.into(), name: name.into(), uid: String::new() });
        self
    }

    /// The JSON body.
    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(token) = &self.continue_token {
            body["metadata"] = json!({ "continue": token });
        }
        let details = self.details();
        if self.about.is_some() || details.as_object().is_some_and(|details| !details.is_empty()) {
            body["details"] = details;
        }
        body
    }

    fn details(&self) -> Value {
        let mut details = serde_json::Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                details.insert(name.into(), value.into());
            }
        };
        if let Some(about) = &self.about {
            put("name", &about.name);
            put("group", &about.group);
            put("kind", &about.kind);
            put("uid", &about.uid);
        }
        if !self.causes.is_empty() {
            let causes = self
                .causes
                .iter()
                .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }));
            details.insert("causes".into(), causes.collect());
        }
        if let Some(seconds) = self.retry_after_seconds {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        Value::Object(details)
    }
}

impl Cause {
    /// A missing field.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".into() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// A wrong value; `value` is printed as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {detail}"), field: field.into() }
    }

    /// A value outside a fixed set.
    pub fn not_supported(field: impl Into<String>, value: &Value, allowed: &[&str]) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|one| format!("{one:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", allowed.join(", "));
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    /// A value that appears twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueDuplicate", message: format!("Duplicate value: {value}"), field: field.into() }
    }

    /// A field that may not be set here, or may not change.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {detail}"), field: field.into() }
    }
}

fn qualified(kind: &str, group: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}
