//! Pods of which there must be at most one: a node that has lost the quorum stops them before they can be replaced
//! elsewhere, and nobody replaces them sooner. `docs/CLUSTER.md` has the argument.
//!
//! Both sides count from the same moment or later ones: the node from when it *asked* a question that the leader
//! answered, the leader from when it last answered one of its. The node is early by [`MARGIN`].

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::{Snapshot, taint_eviction};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// Annotation of a pod that must not run twice at a time: `"true"`. Pods of stateful sets need none.
pub const AT_MOST_ONE: &str = "shoal.dev/at-most-one";
/// The taint of a node that was declared dead.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// How much earlier than its pod's earliest replacement a node begins to stop the pod: [`GRACE`], and a second for late
/// timers, the kill itself, and control nodes whose clocks show different times.
pub const MARGIN: Duration = Duration::from_secs(2);
/// How long a stopped container has between the request to end and its kill, whatever grace its pod asks for.
pub const GRACE: Duration = Duration::from_secs(1);
/// How much faster the leader's clock may run than a node's: one part in this many.
pub const DRIFT: u32 = 1_000;
/// Least time that such a pod stays bound to a node that was declared dead, whatever it tolerates: with less, a node
/// could not tell an election from the loss of the quorum.
pub const LEAST_TOLERATION: Duration = Duration::from_secs(3);
/// Such a pod that tolerates the death of its node for longer, or for ever, is stopped as if it tolerated it for this
/// long.
pub const MOST_TOLERATION: Duration = Duration::from_mins(5);
/// How long a node that has just started waits for a first answer before it stops what it found running.
pub const FIRST_WORD: Duration = Duration::from_secs(2);

const _: () = assert!(GRACE.as_millis() < MARGIN.as_millis());

/// When the quorum last answered this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Not since this node started, this long ago.
    Never(Duration),
    /// A question asked this long ago was answered, and nothing later was.
    For(Duration),
}

/// What a node may do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Run it.
    #[default]
    Run,
    /// Start nothing of it; what runs goes on.
    Hold,
    /// Stop what runs.
    Stop,
}

/// What becomes of the place of a pod that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Another pod may be made.
    Free,
    /// Not yet: until its object is gone, or for this long where that is known.
    Held(Option<Duration>),
}

/// Whether the pod must not run twice at a time.
pub fn is_at_most_one(pod: &Object) -> bool {
    let asks = pod.meta.annotations.as_ref().and_then(|all| all.get(AT_MOST_ONE)).is_some_and(|value| value == "true");
    let owners = pod.meta.owner_references.iter().flatten();
    asks || owners.into_iter().any(|owner| owner.controller == Some(true) && owner.kind == "StatefulSet")
}

/// How long after its node was declared dead the pod may be replaced, at the earliest; `None` where it may run twice.
///
/// # Errors
/// Where the pod cannot be decoded.
pub fn tolerated(pod: &Object) -> Result<Option<Duration>, DecodeError> {
    if !is_at_most_one(pod) {
        return Ok(None);
    }
    let taint = Taint { key: UNREACHABLE.into(), effect: "NoExecute".into(), ..Taint::default() };
    let own = taint_eviction::patience(pod, &*pod.view::<Pod>()?, &taint);
    Ok(Some(own.map_or(MOST_TOLERATION, |own| own.min(MOST_TOLERATION))))
}

/// What a node may do with a pod that is `tolerated` so long, after this silence of the quorum, which decides on a node's
/// death after `decide_after`.
pub fn judge(tolerated: Option<Duration>, silence: Silence, decide_after: Duration) -> Verdict {
    let Some(tolerated) = tolerated else { return Verdict::Run };
    match silence {
        Silence::Never(since) if since < FIRST_WORD => Verdict::Hold,
        Silence::Never(_) => Verdict::Stop,
        Silence::For(lost) if lost + lost / DRIFT + MARGIN >= decide_after + tolerated => Verdict::Stop,
        Silence::For(_) => Verdict::Run,
    }
}

/// In how much time the pod must have ended, after this silence of the quorum: [`GRACE`] after [`judge`] first says that it
/// stops.
pub fn left(tolerated: Duration, silence: Duration, decide_after: Duration) -> Duration {
    let whole = (decide_after + tolerated).saturating_sub(MARGIN);
    (whole - whole / DRIFT + GRACE).saturating_sub(silence)
}

/// Whether the Node object says that the node was declared dead, and not yet that it is back.
pub fn is_declared(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let unknown = conditions.iter().any(|one| one.type_ == "Ready" && one.status == "Unknown");
    unknown || declared(node).is_some()
}

fn declared(node: &Node) -> Option<&Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().find(|taint| taint.key == UNREACHABLE && taint.effect == "NoExecute")
}

/// Whether another pod may be made for one that is being deleted. One that must not run twice keeps its place until its
/// node has said that it ended, or was declared dead for so long that it must have ended it.
///
/// # Errors
/// Where pod or node cannot be decoded.
pub fn place(pod: &Object, snapshot: &Snapshot, now: Timestamp) -> Result<Place, DecodeError> {
    let Some(name) = pod.pod_node().filter(|_| is_at_most_one(pod) && !pod.is_ended_pod()) else {
        return Ok(Place::Free);
    };
    let Some(node) = snapshot.get(&ObjectKey::new(id::NODES, "", name)) else { return Ok(Place::Held(None)) };
    let node = node.view::<Node>()?;
    let Some(taint) = declared(&node) else { return Ok(Place::Held(None)) };
    let Some(patience) = taint_eviction::patience(pod, &*pod.view::<Pod>()?, taint) else {
        return Ok(Place::Held(None));
    };
    let since = taint.time_added.as_ref().map_or(now, |time| Timestamp::from(time.0));
    let left = patience.saturating_sub(now.since(since));
    Ok(if left.is_zero() { Place::Free } else { Place::Held(Some(left)) })
}

/// Sets that wait for the death of a node: the controllers of such pods on it.
pub fn waiting_on<'a>(node: &'a str, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Object> + 'a {
    snapshot.pods_on(node).map(AsRef::as_ref).filter(|pod: &&Object| pod.is_terminating() && is_at_most_one(pod))
}

#[cfg(test)]
mod tests;
