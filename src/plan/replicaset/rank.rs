//! Which pods a shrinking set gives up first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::SeenPod;
use super::set::Set;
use crate::kube::resource::id;
use crate::model::Timestamp;
use crate::plan::{Snapshot, owner, readiness, select};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Lower goes first, field by field: unassigned, pending, not ready, cheap, on a crowded node, ready for a shorter
/// time (in powers of two, so that small differences do not decide), restarted more often, newer; then by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    assigned: bool,
    phase: u8,
    ready: bool,
    cost: i32,
    neighbours: Reverse<usize>,
    ready_log2_seconds: u32,
    restarts: Reverse<i32>,
    age_log2_seconds: u32,
    created: Reverse<Timestamp>,
    name: &'a str,
}

/// The `count` pods to delete, first one first.
pub(super) fn victims<'a>(
    pods: &'a [SeenPod],
    count: usize,
    set: &Set,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Vec<&'a SeenPod> {
    if count == 0 {
        return Vec::new();
    }
    let crowd = related_per_node(set, pods, snapshot);
    let mut ranked: Vec<(Rank, &SeenPod)> = pods.iter().map(|seen| (rank(seen, &crowd, now), seen)).collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0));
    ranked.into_iter().take(count).map(|(_, seen)| seen).collect()
}

/// Active pods per node of this set and of the sets that share its owner (the replica sets of one deployment).
fn related_per_node(set: &Set, pods: &[SeenPod], snapshot: &Snapshot) -> BTreeMap<String, usize> {
    let mut crowd = BTreeMap::new();
    let mut add = |node: Option<&str>| {
        if let Some(node) = node {
            *crowd.entry(node.to_owned()).or_default() += 1;
        }
    };
    for seen in pods {
        add(seen.object.pod_node());
    }
    let Some(deployment) = owner::controller(&set.object) else { return crowd };
    let siblings = snapshot
        .owned_by(&deployment.uid)
        .filter(|sibling| sibling.key.is(id::REPLICA_SETS) && sibling.key != set.object.key)
        .filter(|sibling| sibling.view::<ReplicaSet>().is_ok());
    for sibling in siblings {
        snapshot.owned_by(sibling.uid()).filter(|pod| !pod.is_terminating()).for_each(|pod| add(pod.pod_node()));
    }
    crowd
}

fn rank<'a>(seen: &'a SeenPod, crowd: &BTreeMap<String, usize>, now: Timestamp) -> Rank<'a> {
    let node = seen.object.pod_node();
    let ready_since = readiness::ready_since(&seen.pod);
    let created = seen.object.meta.creation_timestamp.as_ref().map(|time| Timestamp::from(time.0)).unwrap_or_default();
    Rank {
        assigned: node.is_some(),
        phase: match readiness::phase(&seen.pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        },
        ready: ready_since.is_some(),
        cost: select::annotation(&seen.object, DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
        neighbours: Reverse(node.and_then(|node| crowd.get(node)).copied().unwrap_or(0)),
        ready_log2_seconds: ready_since.map_or(0, |since| log2_seconds(since, now)),
        restarts: Reverse(most_restarts(seen)),
        age_log2_seconds: log2_seconds(created, now),
        created: Reverse(created),
        name: &seen.object.key.name,
    }
}

fn log2_seconds(since: Timestamp, now: Timestamp) -> u32 {
    now.since(since).as_secs().checked_ilog2().map_or(0, |power| power + 1)
}

fn most_restarts(seen: &SeenPod) -> i32 {
    let statuses = seen.pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}
