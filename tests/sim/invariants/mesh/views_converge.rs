//! INV-M13: once all has healed, everybody sees the same.

use std::collections::BTreeMap;

use super::Invariant;
use crate::mesh::member::Life;
use crate::model::NodeId;
use crate::sim::mesh::history::{History, Seen};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M13 views-converge",
    meaning: "A while after healing every node sees exactly the nodes that run, none under suspicion, each with its \
              generation and the newest of what it tells.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let cluster = |node: &NodeId| history.lives.iter().find(|life| life.who.node == *node).map(|life| life.cluster);
    let kept = |node: &&NodeId| !history.revoked.contains_key(*node);
    for node in history.end.up.keys().filter(kept) {
        let expected: BTreeMap<&NodeId, (u64, u64)> = history
            .end
            .up
            .iter()
            .filter(|(other, _)| cluster(other) == cluster(node) && kept(other))
            .map(|(other, told)| (other, *told))
            .collect();
        let nothing = BTreeMap::<NodeId, Seen>::new();
        let view = history.end.views.get(node).unwrap_or(&nothing);
        let seen: BTreeMap<&NodeId, (u64, u64)> =
            view.iter().map(|(other, seen)| (other, (seen.generation, seen.version))).collect();
        if seen != expected {
            return Err(format!("{node} sees {}; there are {}", told(&seen), told(&expected)));
        }
        if let Some((other, seen)) = view.iter().find(|(_, seen)| seen.life != Life::Alive) {
            return Err(format!("{node} still sees {other} as {seen:?}"));
        }
    }
    Ok(())
}

fn told(members: &BTreeMap<&NodeId, (u64, u64)>) -> String {
    let each = members.iter().map(|(node, (generation, version))| format!("{node} {generation} v{version}"));
    each.collect::<Vec<_>>().join(", ")
}
