//! Where control actors run. A placement is a Lease of `kube-system`: its holder is the node, its transitions are the
//! epoch. The commit that moves an actor raises its epoch, and the store refuses older ones from that revision on: who
//! holds a Lease that its mirror shows has seen everything that its predecessors ever wrote.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::{Command, Snapshot};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{Epoch, ObjectKey, Revision, Timestamp};

/// Where the Leases are.
pub const NAMESPACE: &str = "kube-system";
/// Label of the Leases that are placements.
pub const LABEL: &str = "shoal.dev/control-actor";
/// Annotation: the node that an administrator wants the actor on.
pub const WISH: &str = "shoal.dev/preferred-node";
/// Annotation: how often the actor failed in a row where it is.
pub const CRASHES: &str = "shoal.dev/crashes";
/// An actor that failed so often in a row is moved.
pub const MAX_CRASHES: u32 = 5;

/// Lets nodes in, signs their certificates, and sees them off.
pub const ISSUER: &str = "certificate-issuer";
/// Places all others, and keeps the voters.
pub const PLACEMENT: &str = "placement";
/// Actors that work on the node that leads, because they change the log's own membership.
pub const WITH_LEADER: [&str; 2] = [ISSUER, PLACEMENT];

/// A placement as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The node.
    pub node: String,
    /// Grows with every move.
    pub epoch: Epoch,
    /// The node that an administrator wants.
    pub wish: Option<String>,
    /// Failures in a row.
    pub crashes: u32,
    /// The Lease's version.
    pub revision: Revision,
}

/// A node that may run control actors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Its name.
    pub node: String,
    /// Whether it answers.
    pub well: bool,
    /// Whether it leads.
    pub leads: bool,
}

/// An actor's next placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The actor.
    pub actor: String,
    /// Its next node.
    pub to: String,
    /// Its next epoch.
    pub epoch: Epoch,
}

/// Every placement.
///
/// # Errors
/// Where a Lease cannot be decoded.
pub fn read(snapshot: &Snapshot) -> Result<BTreeMap<String, Placed>, DecodeError> {
    let leases = snapshot.list(id::LEASES, Some(NAMESPACE)).filter(|object| is_placement(object));
    leases.map(|object| Ok((object.key.name.to_string(), placed(object)?))).collect()
}

/// Whether an object is a placement.
pub fn is_placement(object: &Object) -> bool {
    object.key.is(id::LEASES)
        && &*object.key.namespace == NAMESPACE
        && object.meta.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL))
}

fn placed(object: &Object) -> Result<Placed, DecodeError> {
    let lease = object.view::<Lease>()?;
    let spec = lease.spec.clone().unwrap_or_default();
    let annotation = |name| object.meta.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    Ok(Placed {
        node: spec.holder_identity.unwrap_or_default(),
        epoch: Epoch(u64::try_from(spec.lease_transitions.unwrap_or_default()).unwrap_or_default()),
        wish: annotation(WISH),
        crashes: annotation(CRASHES).and_then(|text| text.parse().ok()).unwrap_or_default(),
        revision: object.revision,
    })
}

/// What must be moved: those [`WITH_LEADER`] to the leader; of `actors`, those without a place, on a node that is no home or does not answer, that keep failing where
/// they are, or that are wanted elsewhere; and one actor of the most loaded home, where it has two more than another.
pub fn next(actors: &BTreeSet<&str>, placed: &BTreeMap<String, Placed>, homes: &[Home]) -> Vec<Move> {
    let mut loads: BTreeMap<&str, usize> =
        homes.iter().filter(|home| home.well).map(|home| (home.node.as_str(), 0)).collect();
    if loads.is_empty() {
        return Vec::new();
    }
    let mut moves = follow_leader(placed, homes);
    let mut homeless = Vec::new();
    for actor in actors {
        let place = placed.get(*actor);
        match place.filter(|place| !must_move(place, &loads)).and_then(|place| loads.get_mut(place.node.as_str())) {
            Some(load) => *load += 1,
            None => homeless.push((*actor, place)),
        }
    }
    for (actor, place) in homeless {
        let Some(to) = choose(place, &loads) else { continue };
        loads.entry(to).and_modify(|load| *load += 1);
        moves.push(move_of(actor, place, to));
    }
    if moves.is_empty() {
        moves.extend(even_out(actors, placed, &loads));
    }
    moves
}

fn follow_leader(placed: &BTreeMap<String, Placed>, homes: &[Home]) -> Vec<Move> {
    let Some(leader) = homes.iter().find(|home| home.leads) else { return Vec::new() };
    let places = WITH_LEADER.iter().map(|actor| (*actor, placed.get(*actor)));
    let away = places.filter(|(_, place)| place.is_none_or(|place| place.node != leader.node));
    away.map(|(actor, place)| move_of(actor, place, &leader.node)).collect()
}

fn must_move(place: &Placed, homes: &BTreeMap<&str, usize>) -> bool {
    let elsewhere = homes.keys().any(|home| *home != place.node);
    let wanted = place.wish.as_deref().is_some_and(|wish| wish != place.node && homes.contains_key(wish));
    !homes.contains_key(place.node.as_str()) || wanted || (place.crashes >= MAX_CRASHES && elsewhere)
}

/// The home that is wanted, else the least loaded one; not the one where it keeps failing.
fn choose<'a>(place: Option<&Placed>, loads: &BTreeMap<&'a str, usize>) -> Option<&'a str> {
    let failing = place.filter(|place| place.crashes >= MAX_CRASHES).map(|place| place.node.as_str());
    let wish = place.and_then(|place| place.wish.as_deref()).filter(|wish| Some(*wish) != failing);
    let wanted = loads.keys().copied().find(|home| Some(*home) == wish);
    let least = loads.iter().filter(|(home, _)| Some(**home) != failing).min_by_key(|(home, load)| (**load, **home));
    wanted.or(least.map(|(home, _)| *home))
}

fn even_out(actors: &BTreeSet<&str>, placed: &BTreeMap<String, Placed>, loads: &BTreeMap<&str, usize>) -> Option<Move> {
    let (most, top) = loads.iter().max_by_key(|(home, load)| (**load, **home))?;
    let (least, bottom) = loads.iter().min_by_key(|(home, load)| (**load, **home))?;
    if *top < bottom + 2 {
        return None;
    }
    let free = |actor: &&&str| placed.get(**actor).is_some_and(|place| place.node == *most && place.wish.is_none());
    let actor = actors.iter().rfind(free)?;
    Some(move_of(actor, placed.get(*actor), least))
}

fn move_of(actor: &str, place: Option<&Placed>, to: &str) -> Move {
    Move { actor: actor.into(), to: to.into(), epoch: Epoch(place.map_or(0, |place| place.epoch.0) + 1) }
}

/// The write that makes a move; it fails where somebody else has moved the actor meanwhile.
pub fn command(step: &Move, placed: Option<&Placed>, now: Timestamp) -> Command {
    let mut annotations = serde_json::Map::new();
    if let Some(wish) = placed.and_then(|placed| placed.wish.as_ref()) {
        annotations.insert(WISH.into(), wish.as_str().into());
    }
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": step.actor, "namespace": NAMESPACE, "labels": { LABEL: step.actor }, "annotations": annotations,
        },
        "spec": {
            "holderIdentity": step.to, "leaseTransitions": step.epoch.0, "acquireTime": now.rfc3339_micro(),
        },
    });
    match placed {
        None => Command::Create { resource: id::LEASES, namespace: NAMESPACE.into(), body },
        Some(placed) => Command::Update { key: key(&step.actor), subresource: None, revision: placed.revision, body },
    }
}

/// The Lease of an actor.
pub fn key(actor: &str) -> ObjectKey {
    ObjectKey::new(id::LEASES, NAMESPACE, actor)
}

/// Notes on a placement that its actor keeps failing, or what an administrator wants.
pub fn note(actor: &str, annotation: &str, value: Option<String>) -> Command {
    let value = value.map_or(Value::Null, Value::String);
    Command::Patch {
        key: key(actor),
        subresource: None,
        body: json!({ "metadata": { "annotations": { annotation: value } } }),
    }
}

#[cfg(test)]
mod tests;
