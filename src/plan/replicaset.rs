//! Replica sets and replication controllers: keep a number of pods.
//!
//! Rooms: `set` what both kinds have in common, `rank` which pods go first, `status` what is counted.

mod rank;
mod set;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rand::RngCore;

use self::set::Set;
use super::fencing::{self, Place};
use super::{Command, Controller, Plan, Snapshot, owner, readiness, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::id::name_suffix;
use crate::model::{ObjectKey, ResourceId, Timestamp};

/// Most pods that one plan creates or deletes; the rest follows in the next plan.
pub const BURST_PODS: usize = 500;

/// Keeps the pods of one kind of set.
#[derive(Debug)]
pub struct Replicas {
    name: &'static str,
    sets: ResourceId,
}

/// Of replica sets.
pub const REPLICA_SETS: Replicas = Replicas { name: "replicaset-controller", sets: id::REPLICA_SETS };
/// Of replication controllers.
pub const REPLICATION_CONTROLLERS: Replicas =
    Replicas { name: "replication-controller", sets: id::REPLICATION_CONTROLLERS };

/// A pod with its typed view.
#[derive(Clone)]
pub(super) struct SeenPod {
    /// As stored.
    pub object: Arc<Object>,
    /// Decoded.
    pub pod: Arc<Pod>,
}

impl Controller for Replicas {
    fn name(&self) -> &'static str {
        self.name
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        marks(object, self.sets, snapshot)
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        reconcile(key, snapshot, now, rng)
    }

    fn refused(
        &self,
        key: &ObjectKey,
        command: &Command,
        message: &str,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Vec<Command>, DecodeError> {
        refused(key, command, message, snapshot, now)
    }
}

/// A set marks itself; a pod marks its controller, or every set that might adopt it; a node marks the sets that wait for
/// what becomes of it.
fn marks(object: &Object, resource: ResourceId, snapshot: &Snapshot) -> Vec<ObjectKey> {
    if object.key.is(resource) {
        return vec![object.key.clone()];
    }
    if object.key.is(id::NODES) {
        let waiting = fencing::waiting_on(&object.key.name, snapshot);
        return waiting.filter_map(|pod| owner::controller_key(pod, resource)).collect();
    }
    if !object.key.is(id::PODS) {
        return Vec::new();
    }
    if owner::controller(object).is_some() {
        return owner::controller_key(object, resource).into_iter().collect();
    }
    snapshot.list(resource, Some(&object.key.namespace)).map(|set| set.key.clone()).collect()
}

fn reconcile(key: &ObjectKey, snapshot: &Snapshot, now: Timestamp, rng: &mut dyn RngCore) -> Result<Plan, DecodeError> {
    let Some(object) = snapshot.get(key) else { return Ok(Plan::default()) };
    let set = Set::read(object)?;
    let claim = owner::claim(object, &set.selector, id::PODS, snapshot)?;
    if !claim.commands.is_empty() {
        return Ok(Plan { commands: claim.commands, again_after: None });
    }
    let pods = active_pods(&claim.owned)?;
    let held = held(&claim.owned, snapshot, now)?;
    let mut commands =
        if object.is_terminating() { Vec::new() } else { correct(&set, &pods, held.places, snapshot, now, rng)? };
    let correcting = !commands.is_empty();
    let counted = status::count(&set, &pods, now, correcting);
    if counted.status != set.status && !correcting {
        commands.push(write::status(object, &counted.status)?);
    }
    let again_after = [counted.again_after, held.again_after].into_iter().flatten().min();
    Ok(Plan { commands, again_after })
}

/// Places of pods that are going and must have ended before they are replaced.
#[derive(Debug, Default)]
struct Held {
    places: usize,
    /// When the first of them is free, where that is known.
    again_after: Option<Duration>,
}

fn held(owned: &[Arc<Object>], snapshot: &Snapshot, now: Timestamp) -> Result<Held, DecodeError> {
    let mut held = Held::default();
    for pod in owned.iter().filter(|pod| pod.is_terminating()) {
        if let Place::Held(left) = fencing::place(pod, snapshot, now)? {
            held.places += 1;
            held.again_after = [held.again_after, left].into_iter().flatten().min();
        }
    }
    Ok(held)
}

fn active_pods(owned: &[Arc<Object>]) -> Result<Vec<SeenPod>, DecodeError> {
    let mut pods = Vec::with_capacity(owned.len());
    for object in owned {
        let pod = object.view::<Pod>()?;
        if readiness::is_active(&pod) {
            pods.push(SeenPod { object: Arc::clone(object), pod });
        }
    }
    Ok(pods)
}

/// The creations or deletions that bring the number of active pods to what is asked, each followed by its event.
fn correct(
    set: &Set,
    pods: &[SeenPod],
    held: usize,
    snapshot: &Snapshot,
    now: Timestamp,
    rng: &mut dyn RngCore,
) -> Result<Vec<Command>, DecodeError> {
    if pods.len() < set.replicas {
        return create(set, (set.replicas - pods.len()).saturating_sub(held).min(BURST_PODS), rng);
    }
    let surplus = (pods.len() - set.replicas).min(BURST_PODS);
    let mut commands = Vec::with_capacity(surplus * 2);
    for victim in rank::victims(pods, surplus, set, snapshot, now) {
        commands.push(write::delete(&victim.object));
        let message = format!("Deleted pod: {}", victim.object.key.name);
        commands.push(write::event(&set.object, false, "SuccessfulDelete", message));
    }
    Ok(commands)
}

/// Pods are named here, not by the API, so that their events can name them. A name that is taken creates nothing;
/// the next plan makes up for it.
fn create(set: &Set, missing: usize, rng: &mut dyn RngCore) -> Result<Vec<Command>, DecodeError> {
    let body = set.pod_body()?;
    let mut commands = Vec::with_capacity(missing * 2);
    for _ in 0..missing {
        let name = format!("{}{}", set.name_prefix(), name_suffix(rng));
        let mut body = body.clone();
        if let Some(meta) = body.get_mut("metadata") {
            write::set(meta, "name", name.as_str().into());
        }
        let namespace = set.object.key.namespace.to_string();
        commands.push(Command::Create { resource: id::PODS, namespace, body });
        commands.push(write::event(&set.object, false, "SuccessfulCreate", format!("Created pod: {name}")));
    }
    Ok(commands)
}

fn refused(
    key: &ObjectKey,
    command: &Command,
    message: &str,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Vec<Command>, DecodeError> {
    let (reason, event, verb) = match command {
        Command::Create { .. } => ("FailedCreate", "FailedCreate", "creating"),
        Command::Delete { .. } => ("FailedDelete", "FailedDelete", "deleting"),
        _ => return Ok(Vec::new()),
    };
    let Some(object) = snapshot.get(key) else { return Ok(Vec::new()) };
    let set = Set::read(object)?;
    let claim = owner::claim(object, &set.selector, id::PODS, snapshot)?;
    let mut status = status::count(&set, &active_pods(&claim.owned)?, now, true).status;
    status::set_failure(&mut status, reason, message, now);
    let mut commands = vec![write::event(object, true, event, format!("Error {verb}: {message}"))];
    if status != set.status {
        commands.push(write::status(object, &status)?);
    }
    Ok(commands)
}
