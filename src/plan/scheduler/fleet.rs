//! The nodes as dense arrays: one index, one node. Placing a pod updates the arrays, so that the next pod sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::request::{Amounts, HostPort, Wanted};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::plan::{Snapshot, owner, readiness};

/// Every node, and what is taken of it.
#[derive(Default)]
pub(super) struct Fleet {
    pub names: Vec<String>,
    pub labels: Vec<BTreeMap<String, String>>,
    pub taints: Vec<Vec<Taint>>,
    pub unschedulable: Vec<bool>,
    pub capacity: Vec<Amounts>,
    pub taken: Vec<Amounts>,
    /// CPU and memory taken, with guesses for containers that request none.
    pub guessed: Vec<(i64, i64)>,
    pub ports: Vec<Vec<HostPort>>,
    /// Pods on the node, those placed since the snapshot included.
    pub pods: Vec<Vec<Resident>>,
}

/// A pod on a node.
pub(super) struct Resident {
    pub object: Arc<Object>,
}

fn unreachable() -> Taint {
    Taint { key: "node.kubernetes.io/unreachable".into(), effect: "NoSchedule".into(), ..Taint::default() }
}

impl Fleet {
    /// Reads every node that is not being deleted, in name order.
    pub(super) fn read(snapshot: &Snapshot) -> Result<Self, DecodeError> {
        let mut fleet = Self::default();
        for object in snapshot.list(id::NODES, None).filter(|node| !node.is_terminating()) {
            fleet.add_node(object)?;
            let at = fleet.names.len() - 1;
            // A node that gossip suspects gets what it would if it were declared dead: nobody new.
            if let Some(taints) = fleet.taints.get_mut(at).filter(|_| snapshot.doubted(&object.key.name)) {
                taints.push(unreachable());
            }
            for resident in snapshot.pods_on(&object.key.name) {
                let pod: Arc<Pod> = resident.view()?;
                if !readiness::is_ended(&pod) {
                    fleet.occupy(at, &Wanted::read(resident, &pod)?);
                }
            }
        }
        Ok(fleet)
    }

    fn add_node(&mut self, object: &Arc<Object>) -> Result<(), DecodeError> {
        let node: Arc<Node> = object.view()?;
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let bad = |reason: String| DecodeError { key: object.key.clone(), reason };
        self.names.push(object.key.name.to_string());
        self.labels.push(node.metadata.labels.clone().unwrap_or_default());
        self.taints.push(spec.and_then(|spec| spec.taints.clone()).unwrap_or_default());
        self.unschedulable.push(spec.and_then(|spec| spec.unschedulable).unwrap_or(false));
        self.capacity.push(Amounts::read(allocatable).map_err(bad)?);
        self.taken.push(Amounts::default());
        self.guessed.push((0, 0));
        self.ports.push(Vec::new());
        self.pods.push(Vec::new());
        Ok(())
    }

    /// Gives the pod its place; the node's name, where `at` is a node.
    pub(super) fn take(&mut self, at: usize, wanted: &Wanted) -> Option<String> {
        self.occupy(at, wanted);
        self.names.get(at).cloned()
    }

    fn occupy(&mut self, at: usize, wanted: &Wanted) {
        if let Some(taken) = self.taken.get_mut(at) {
            taken.add(&wanted.requests);
        }
        if let Some(guessed) = self.guessed.get_mut(at) {
            guessed.0 = guessed.0.saturating_add(wanted.guessed.0);
            guessed.1 = guessed.1.saturating_add(wanted.guessed.1);
        }
        if let Some(ports) = self.ports.get_mut(at) {
            ports.extend(wanted.ports.iter().cloned());
        }
        if let Some(pods) = self.pods.get_mut(at) {
            pods.push(Resident { object: Arc::clone(&wanted.object) });
        }
    }

    /// How many pods of the same controller a node has.
    pub(super) fn siblings(&self, at: usize, wanted: &Wanted) -> usize {
        let Some(uid) = owner::controller(&wanted.object).map(|owner| owner.uid.as_str()) else { return 0 };
        let same = |resident: &&Resident| owner::controller(&resident.object).is_some_and(|owner| owner.uid == uid);
        self.pods.get(at).map_or(0, |pods| pods.iter().filter(same).count())
    }
}
