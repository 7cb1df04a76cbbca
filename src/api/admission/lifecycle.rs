//! `NamespaceLifecycle`: nothing is created in a namespace that is missing or going; what the system needs stays.

use serde_json::Value;

use super::{Admission, Attempt, Operation};
use crate::kube::resource::id;
use crate::kube::status::{Cause, Status};
use crate::model::ObjectKey;
use crate::store::{Action, Expect, Op};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// See the module.
pub struct NamespaceLifecycle;

impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn admit(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<Vec<Op>, Status> {
        match attempt.operation {
            Operation::Delete => keep_immortal(attempt, object).map(|()| Vec::new()),
            Operation::Create if attempt.resource.namespaced && attempt.subresource.is_none() => {
                within_namespace(attempt, object)
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn keep_immortal(attempt: &Attempt<'_>, object: &Value) -> Result<(), Status> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if attempt.resource.id == id::NAMESPACES && IMMORTAL.contains(&name) {
        return Err(Status::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    Ok(())
}

fn within_namespace(attempt: &Attempt<'_>, object: &Value) -> Result<Vec<Op>, Status> {
    let key = ObjectKey::new(id::NAMESPACES, "", attempt.namespace);
    let Some(record) = attempt.store.get(&key) else {
        return Err(Status::not_found("", "namespaces", attempt.namespace));
    };
    if is_terminating(&record.value)? {
        return Err(terminating(attempt, object));
    }
    Ok(vec![Op { key, expect: Expect::Revision(record.modified), action: Action::Check }])
}

#[derive(serde::Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(serde::Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default, rename = "deletionTimestamp")]
    deletion: Option<&'a str>,
}

fn is_terminating(namespace: &[u8]) -> Result<bool, Status> {
    let head: Head<'_> =
        serde_json::from_slice(namespace).map_err(|_| Status::internal("a stored namespace cannot be read"))?;
    Ok(head.metadata.deletion.is_some())
}

fn terminating(attempt: &Attempt<'_>, object: &Value) -> Status {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let (group, plural) = (attempt.resource.id.group, attempt.resource.id.plural);
    let why = format!("unable to create new content in namespace {} because it is being terminated", attempt.namespace);
    let mut status = Status::forbidden(group, plural, name, &why);
    status.causes.push(Cause {
        reason: "NamespaceTerminating",
        message: format!("namespace {} is being terminated", attempt.namespace),
        field: "metadata.namespace".into(),
    });
    status
}
