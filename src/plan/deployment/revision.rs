//! Which replica set is the new one, what its annotations say of history, and which old ones are forgotten.

use std::collections::BTreeMap;

use serde_json::json;

use super::read::{Rollout, Set};
use super::{status, template};
use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::{Snapshot, owner, select, write};

/// How often a template has been rolled out, counted over the deployment's life.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
/// Bytes of revision history that a replica set remembers, as Kubernetes bounds it.
const MAX_HISTORY_BYTES: usize = 2000;

/// Annotations of the deployment that its replica sets do not inherit.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
];

impl Rollout<'_> {
    /// Finds the set with the deployment's template, or makes it where `create` says so. An old set that has it
    /// becomes the newest again (that is a rollback).
    pub(super) fn find_new_set(&mut self, create: bool, snapshot: &Snapshot) -> Result<(), DecodeError> {
        self.new = self.sets.iter().position(|set| template::same(&set.template, &self.spec.template));
        let highest = self.old().filter_map(|index| self.sets.get(index)).map(Set::revision).max().unwrap_or(0);
        match self.new {
            Some(index) => self.renew(index, highest + 1),
            None if create => self.create_set(highest + 1, snapshot)?,
            None => {}
        }
        self.follow_revision();
        Ok(())
    }

    fn renew(&mut self, index: usize, revision: i64) {
        let inherited = self.inherited();
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let Some(set) = self.sets.get_mut(index) else { return };
        set.changed |= inherit(&mut set.annotations, inherited);
        set.changed |= raise_revision(&mut set.annotations, revision);
        set.changed |= set.min_ready != min_ready;
        set.min_ready = min_ready;
        let name = set.name.clone();
        if self.has_deadline() && status::find(&self.status, status::PROGRESSING).is_none() {
            let message = format!("Found new replica set {name:?}");
            self.set_condition(status::PROGRESSING, "True", "FoundNewReplicaSet", &message);
        }
    }

    fn create_set(&mut self, revision: i64, snapshot: &Snapshot) -> Result<(), DecodeError> {
        let hash = template::hash(&self.spec.template, self.status.collision_count.unwrap_or(0));
        let name = format!("{}-{hash}", self.object.key.name);
        let key = ObjectKey::new(id::REPLICA_SETS, &self.object.key.namespace, &name);
        if snapshot.get(&key).is_some() {
            // The name belongs to another template, or to somebody else's set: try the next hash.
            *self.status.collision_count.get_or_insert(0) += 1;
            return Ok(());
        }
        let mut annotations = self.inherited();
        annotations.insert(REVISION.into(), revision.to_string());
        let set = Set {
            object: None,
            body: self.set_body(&name, &hash)?,
            name,
            created: self.now,
            replicas: 0,
            min_ready: self.spec.min_ready_seconds.unwrap_or(0),
            template: self.spec.template.clone(),
            annotations,
            status: k8s_openapi::api::apps::v1::ReplicaSetStatus::default(),
            changed: true,
        };
        self.note_created(&set.name.clone());
        self.sets.push(set);
        self.new = Some(self.sets.len() - 1);
        let size = self.new_set_size();
        self.scale(self.sets.len() - 1, size);
        Ok(())
    }

    fn note_created(&mut self, name: &str) {
        if self.has_deadline() {
            let message = format!("Created new replica set {name:?}");
            self.set_condition(status::PROGRESSING, "True", "NewReplicaSetCreated", &message);
        }
    }

    /// Selector and template with the hash label, from the stored JSON so that fields unknown here survive.
    fn set_body(&self, name: &str, hash: &str) -> Result<serde_json::Value, DecodeError> {
        let stored = self.object.value()?;
        let mut selector = stored.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
        let mut template = stored.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
        label(&mut selector, "matchLabels", hash);
        if template.get("metadata").is_none_or(serde_json::Value::is_null) {
            write::set(&mut template, "metadata", json!({}));
        }
        let labels = template.get_mut("metadata").map(|meta| {
            label(meta, "labels", hash);
            meta.get("labels").cloned()
        });
        Ok(json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": &*self.object.key.namespace,
                "labels": labels.flatten(),
                "ownerReferences": [owner::reference(self.object)],
            },
            "spec": { "selector": selector, "template": template },
        }))
    }

    /// The deployment's revision is its new set's.
    fn follow_revision(&mut self) {
        let Some(revision) = self.new_set().and_then(|set| set.annotations.get(REVISION)).cloned() else { return };
        if select::annotation(self.object, REVISION) != Some(&revision) {
            self.new_revision = Some(revision);
        }
    }

    fn inherited(&self) -> BTreeMap<String, String> {
        let own = self.object.meta.annotations.iter().flatten();
        own.filter(|(key, _)| !OWN.contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Deletes the oldest revisions beyond `revisionHistoryLimit`: only sets without pods whose status is up to date.
    pub(super) fn clean_up_history(&mut self) {
        let Some(limit) = self.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()) else {
            return;
        };
        let mut old: Vec<&Set> = self
            .old()
            .filter_map(|index| self.sets.get(index))
            .filter(|set| set.object.as_ref().is_some_and(|object| !object.is_terminating()))
            .collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| set.revision());
        let gone = old.into_iter().take(surplus).filter(|set| set.is_spent());
        self.deletions = gone.filter_map(|set| set.object.clone()).collect();
    }
}

impl Set {
    /// Its place in history; zero where it has none.
    pub(super) fn revision(&self) -> i64 {
        self.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The deployment's size when this set was last sized.
    pub(super) fn remembered_desired(&self) -> Option<i32> {
        self.annotations.get(DESIRED)?.parse().ok()
    }

    /// Most pods that the deployment was allowed when this set was last sized.
    pub(super) fn remembered_most(&self) -> Option<i32> {
        self.annotations.get(MOST)?.parse().ok()
    }

    fn is_spent(&self) -> bool {
        let generation = self.object.as_ref().and_then(|object| object.meta.generation);
        self.replicas == 0 && self.status.replicas == 0 && generation <= self.status.observed_generation
    }
}

/// Remembers the deployment's size on a set; says whether that changed anything.
pub(super) fn remember_size(annotations: &mut BTreeMap<String, String>, desired: i32, most: i32) -> bool {
    let desired = annotations.insert(DESIRED.into(), desired.to_string()) != Some(desired.to_string());
    let most = annotations.insert(MOST.into(), most.to_string()) != Some(most.to_string());
    desired || most
}

fn inherit(annotations: &mut BTreeMap<String, String>, inherited: BTreeMap<String, String>) -> bool {
    let mut changed = false;
    for (key, value) in inherited {
        if annotations.get(&key) != Some(&value) {
            annotations.insert(key, value);
            changed = true;
        }
    }
    changed
}

/// Moves a set to `revision`, remembering the one it had, unless it is there already.
fn raise_revision(annotations: &mut BTreeMap<String, String>, revision: i64) -> bool {
    let before = annotations.get(REVISION).cloned();
    if before.as_deref().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0) >= revision {
        return false;
    }
    annotations.insert(REVISION.into(), revision.to_string());
    if let Some(before) = before {
        let history = annotations.entry(HISTORY.into()).or_default();
        *history = if history.is_empty() { before } else { format!("{history},{before}") };
        while history.len() > MAX_HISTORY_BYTES {
            let Some((_, rest)) = history.split_once(',') else { break };
            *history = rest.to_owned();
        }
    }
    true
}

fn label(value: &mut serde_json::Value, field: &str, hash: &str) {
    let Some(map) = value.as_object_mut() else { return };
    let labels = map.entry(field).or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    write::set(labels, template::HASH_LABEL, hash.into());
}
