//! Controller references: who manages an object, adoption of orphans, release of those that no longer match.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::{Command, Snapshot, select, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::{self, Resource};
use crate::model::selector::LabelSelector;
use crate::model::{ObjectKey, ResourceId};

/// What an owner manages now, and the writes that make it so.
#[derive(Default)]
pub struct Claim {
    /// Controlled by the owner and matching its selector, in key order.
    pub owned: Vec<Arc<Object>>,
    /// Adoptions and releases. While there are any, nothing else should be decided.
    pub commands: Vec<Command>,
}

/// The reference that names an object's controller.
pub fn controller(object: &Object) -> Option<&OwnerReference> {
    object.meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The key of an object's controller, where that is of `resource`. The reference holds a kind, not a resource.
pub fn controller_key(object: &Object, resource: ResourceId) -> Option<ObjectKey> {
    let owner = controller(object)?;
    let row = resource::by_kind(&owner.api_version, &owner.kind)?;
    let namespace = object.meta.namespace.as_deref().unwrap_or_default();
    (row.id == resource).then(|| row.key(namespace, &owner.name))
}

/// A controller reference to `owner`.
pub fn reference(owner: &Object) -> Value {
    let row = resource::of_key(&owner.key);
    json!({
        "apiVersion": row.map(Resource::api_version).unwrap_or_default(),
        "kind": row.map(|row| row.kind).unwrap_or_default(),
        "name": &*owner.key.name,
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Sorts the objects of `resource` in the owner's namespace: what it controls, what it should adopt or let go.
/// A terminating owner adopts nothing; a terminating object is not adopted.
///
/// # Errors
/// Where an object to adopt or release cannot be read.
pub fn claim(
    owner: &Object,
    selector: &LabelSelector,
    resource: ResourceId,
    snapshot: &Snapshot,
) -> Result<Claim, DecodeError> {
    let mut claim = Claim::default();
    let mine = |object: &&Arc<Object>| {
        object.key.is(resource)
            && object.key.namespace == owner.key.namespace
            && controller(object).is_some_and(|reference| reference.uid == owner.uid())
    };
    for object in snapshot.owned_by(owner.uid()).filter(mine) {
        if select::matches(selector, object) {
            claim.owned.push(Arc::clone(object));
        } else if !owner.is_terminating() {
            claim.commands.push(release(owner, object)?);
        }
    }
    if owner.is_terminating() {
        return Ok(claim);
    }
    for object in snapshot.uncontrolled(resource, &owner.key.namespace) {
        if !object.is_terminating() && select::matches(selector, object) {
            claim.commands.push(adopt(owner, object)?);
        }
    }
    Ok(claim)
}

fn adopt(owner: &Object, object: &Object) -> Result<Command, DecodeError> {
    edit_references(object, |references| {
        references.retain(|one| one.get("uid").and_then(Value::as_str) != Some(owner.uid()));
        references.push(reference(owner));
    })
}

fn release(owner: &Object, object: &Object) -> Result<Command, DecodeError> {
    edit_references(object, |references| {
        references.retain(|one| one.get("uid").and_then(Value::as_str) != Some(owner.uid()));
    })
}

/// Rewrites `metadata.ownerReferences`, only from the version that was read.
///
/// # Errors
/// Where the object is not JSON.
pub fn edit_references(object: &Object, edit: impl FnOnce(&mut Vec<Value>)) -> Result<Command, DecodeError> {
    let mut body = object.value()?;
    if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let mut references = match meta.remove("ownerReferences") {
            Some(Value::Array(references)) => references,
            _ => Vec::new(),
        };
        edit(&mut references);
        if !references.is_empty() {
            meta.insert("ownerReferences".into(), references.into());
        }
    }
    Ok(write::replace(object, None, body))
}
