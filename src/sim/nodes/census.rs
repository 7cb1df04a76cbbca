//! What runs on all machines, at any moment and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::users::{NAMESPACE, SOLOS};
use crate::model::Scope;
use crate::runtime::Phase;
use crate::sim::cluster::fleet::Fleet;
use crate::sim::history::Replicas;
use crate::sim::judge;
use crate::sim::mesh::net::Slot;
use crate::store::{Record, Store};

/// Breaches that are kept; more say nothing new.
const KEPT: usize = 20;

/// A container that runs.
struct Running {
    slot: Slot,
    pod: String,
    uid: String,
}

/// Looks at all machines: writes down what runs twice and must not.
pub fn look(fleet: &Fleet) {
    let mut places: BTreeMap<String, BTreeSet<(Slot, String)>> = BTreeMap::new();
    for one in running(fleet) {
        if let Some(identity) = identity(&one.pod) {
            places.entry(identity).or_default().insert((one.slot, one.uid));
        }
    }
    for (identity, places) in places.into_iter().filter(|(_, places)| places.len() > 1) {
        let what = format!("{identity} runs as {places:?} at {:?}", fleet.hand.at());
        let mut history = fleet.shared.history.lock();
        if history.doubles.is_empty() {
            fleet.shared.trace.note(&what);
        }
        if history.doubles.len() < KEPT {
            history.doubles.push(what);
        }
    }
}

fn running(fleet: &Fleet) -> Vec<Running> {
    let mut found = Vec::new();
    for (slot, body) in fleet.sites.iter().filter_map(|site| Some((site.slot, site.body.as_ref()?))) {
        let containers = body.machine().containers().into_iter();
        for mut one in containers.filter(|one| matches!(one.phase, Phase::Running { .. })) {
            let mut label = |name: &str| one.labels.remove(name).unwrap_or_default();
            if label("io.kubernetes.pod.namespace") == NAMESPACE {
                found.push(Running { slot, pod: label("io.kubernetes.pod.name"), uid: one.id.pod_uid });
            }
        }
    }
    found
}

/// What a pod is that must not run twice.
fn identity(pod: &str) -> Option<String> {
    let (set, _) = pod.split_once('-')?;
    SOLOS.contains(&set).then(|| set.to_owned())
}

/// What is not as it should be once all is quiet: sets without their pods, and containers without theirs.
pub fn unsettled(fleet: &Fleet) -> Vec<String> {
    let Some(store) = fleet.leader() else { return vec!["nobody leads".into()] };
    let objects = objects(&store);
    let wrong = |one: &Replicas| one.ready != one.wanted || one.pods != one.wanted;
    let sets = objects.iter().filter(|(resource, _)| resource == "replicasets");
    let sets = sets.map(|(_, set)| judge::replicas(text(set, "/metadata/name").to_owned(), set, &objects));
    let sets = sets.filter(wrong).map(|one| format!("{one:?}"));
    let pods: BTreeMap<&str, &str> = objects
        .iter()
        .filter(|(resource, _)| resource == "pods")
        .map(|(_, pod)| (text(pod, "/metadata/uid"), text(pod, "/spec/nodeName")))
        .collect();
    let runs = running(fleet);
    let strays =
        runs.iter().filter(|one| pods.get(one.uid.as_str()).copied() != Some(format!("n{}", one.slot).as_str()));
    let strays = strays.map(|one| format!("{} of {} runs on n{}", one.uid, one.pod, one.slot));
    let lacking = pods.iter().filter(|(uid, _)| !runs.iter().any(|one| one.uid == **uid));
    let lacking = lacking.map(|(uid, node)| format!("{uid} does not run on {node}"));
    let missing = SOLOS.iter().filter(|name| !runs.iter().any(|one| one.pod.starts_with(**name)));
    let missing = missing.map(|name| format!("nothing of {name} runs"));
    sets.chain(strays).chain(lacking).chain(missing).collect()
}

/// Every object of the users, with its resource.
fn objects(store: &Store) -> Vec<(String, Value)> {
    let records = store.list(&Scope::ALL, None, None, 0).map(|page| page.records).unwrap_or_default();
    let ours = records.iter().filter(|record| *record.key.namespace == *NAMESPACE);
    let read = |record: &Arc<Record>| {
        let resource = record.key.resource.split('.').next().unwrap_or_default();
        Some((resource.to_owned(), serde_json::from_slice(&record.value).ok()?))
    };
    ours.filter_map(read).collect()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
