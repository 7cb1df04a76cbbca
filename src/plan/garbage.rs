//! The garbage collector: owned objects go with their owner, before it or after it, or stay and forget it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rand::RngCore;
use serde_json::Value;

use super::command::Propagation;
use super::{Command, Controller, Plan, Snapshot, owner, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource;
use crate::model::{ObjectKey, Timestamp};

/// The finalizer of an owner that waits for its dependents to go first.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents stay.
const ORPHAN: &str = "orphan";
/// Most dependents that one plan touches; the rest follows in the next plan.
pub const BURST: usize = 500;

/// Collects garbage. Its keys are objects of any resource.
#[derive(Debug, Default)]
pub struct GarbageCollector;

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if snapshot.get(&object.key).is_some_and(|now| now.uid() == object.uid()) {
            let concerned = object.owner_uids().next().is_some() || waits_for_dependents(object);
            return concerned.then(|| object.key.clone()).into_iter().collect();
        }
        let dependents = snapshot.owned_by(object.uid());
        let owners = object.owner_uids().filter_map(|uid| snapshot.by_uid(uid)).filter(|owner| owner.is_terminating());
        dependents.chain(owners).map(|object| object.key.clone()).collect()
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        _now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let Some(object) = snapshot.get(key) else { return Ok(Plan::default()) };
        let commands = if object.is_terminating() {
            finish(object, snapshot)?
        } else {
            judge(object, snapshot)?.into_iter().collect()
        };
        Ok(Plan { commands, again_after: None })
    }
}

fn has_finalizer(object: &Object, name: &str) -> bool {
    object.meta.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

fn waits_for_dependents(object: &Object) -> bool {
    object.is_terminating() && (has_finalizer(object, FOREGROUND) || has_finalizer(object, ORPHAN))
}

/// What a deleted owner still waits for.
fn finish(object: &Object, snapshot: &Snapshot) -> Result<Vec<Command>, DecodeError> {
    if has_finalizer(object, ORPHAN) {
        let dependents: Vec<_> = snapshot.owned_by(object.uid()).take(BURST).collect();
        if dependents.is_empty() {
            return Ok(vec![without_finalizer(object, ORPHAN)?]);
        }
        return dependents.into_iter().map(|dependent| forget(dependent, &[object.uid()])).collect();
    }
    if !has_finalizer(object, FOREGROUND) {
        return Ok(Vec::new());
    }
    let blocking: Vec<_> =
        snapshot.owned_by(object.uid()).filter(|dependent| blocks(dependent, object.uid())).collect();
    if blocking.is_empty() {
        return Ok(vec![without_finalizer(object, FOREGROUND)?]);
    }
    let mut commands = Vec::new();
    for dependent in blocking.into_iter().filter(|dependent| !dependent.is_terminating()).take(BURST) {
        commands.extend(judge(dependent, snapshot)?);
    }
    Ok(commands)
}

fn blocks(dependent: &Object, uid: &str) -> bool {
    let mut owners = dependent.meta.owner_references.iter().flatten();
    owners.any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
}

/// What becomes of an object whose owners may be gone: it stays while one of them is alive, without the others.
fn judge(object: &Arc<Object>, snapshot: &Snapshot) -> Result<Option<Command>, DecodeError> {
    let owners = object.meta.owner_references.as_deref().unwrap_or_default();
    let states: Vec<OwnerState> = owners.iter().map(|owner| state(object, owner, snapshot)).collect();
    let lost: Vec<&str> = owners
        .iter()
        .zip(&states)
        .filter(|(_, state)| **state != OwnerState::Alive)
        .map(|(owner, _)| owner.uid.as_str())
        .collect();
    if lost.is_empty() {
        return Ok(None);
    }
    if lost.len() < owners.len() {
        return forget(object, &lost).map(Some);
    }
    let has_dependents = snapshot.owned_by(object.uid()).next().is_some();
    let waited_for = states.contains(&OwnerState::Waiting);
    let propagation = if has_finalizer(object, ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(object, FOREGROUND) || (waited_for && has_dependents) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Ok(Some(Command::Delete {
        key: object.key.clone(),
        uid: Some(object.uid().to_owned()),
        propagation: Some(propagation),
        grace_seconds: None,
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnerState {
    Alive,
    /// It is being deleted and waits for its dependents.
    Waiting,
    Gone,
}

/// An owner of a kind that is not served here cannot be judged, and counts as alive.
fn state(object: &Object, reference: &OwnerReference, snapshot: &Snapshot) -> OwnerState {
    let Some(row) = resource::by_kind(&reference.api_version, &reference.kind) else { return OwnerState::Alive };
    let reachable = |owner: &&Arc<Object>| {
        owner.key.is(row.storage()) && (!row.namespaced || owner.key.namespace == object.key.namespace)
    };
    match snapshot.by_uid(&reference.uid).filter(reachable) {
        None => OwnerState::Gone,
        Some(owner) if owner.is_terminating() && has_finalizer(owner, FOREGROUND) => OwnerState::Waiting,
        Some(_) => OwnerState::Alive,
    }
}

fn forget(object: &Object, uids: &[&str]) -> Result<Command, DecodeError> {
    owner::edit_references(object, |references| {
        references.retain(|one| one.get("uid").and_then(Value::as_str).is_none_or(|uid| !uids.contains(&uid)));
    })
}

fn without_finalizer(object: &Object, name: &str) -> Result<Command, DecodeError> {
    let mut body = object.value()?;
    if let Some(finalizers) = body.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|finalizer| finalizer.as_str() != Some(name));
    }
    Ok(write::replace(object, None, body))
}
