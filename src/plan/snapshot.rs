//! The cluster as a planner sees it: every object at one revision, with the indexes that planners need.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::kube::object::Object;
use crate::model::{ObjectKey, ResourceId, Revision};

/// The resource of pods, as keys spell it.
const PODS: &str = "pods";

/// All objects, followed change by change.
#[derive(Default)]
pub struct Snapshot {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    by_owner: BTreeMap<String, BTreeSet<ObjectKey>>,
    by_uid: BTreeMap<String, ObjectKey>,
    pods_by_node: BTreeMap<String, BTreeSet<ObjectKey>>,
    unbound_pods: BTreeSet<ObjectKey>,
    uncontrolled: BTreeSet<ObjectKey>,
    by_namespace: BTreeMap<String, BTreeSet<ObjectKey>>,
    doubted: BTreeSet<String>,
    revision: Revision,
}

impl Snapshot {
    /// The revision that the snapshot is at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Moves the revision without a change (a bookmark).
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Whether gossip suspects the node: nobody should be sent there. Nothing is written of it, and it may be taken back.
    pub fn doubted(&self, node: &str) -> bool {
        self.doubted.contains(node)
    }

    /// Takes over which nodes gossip suspects; gives those that this changes.
    pub fn doubt(&mut self, nodes: BTreeSet<String>) -> Vec<String> {
        let before = std::mem::replace(&mut self.doubted, nodes);
        before.symmetric_difference(&self.doubted).cloned().collect()
    }

    /// Puts in an object's newest version.
    pub fn put(&mut self, object: Arc<Object>) {
        self.remove(&object.key.clone());
        self.advance(object.revision);
        for owner in object.owner_uids() {
            self.by_owner.entry(owner.to_owned()).or_default().insert(object.key.clone());
        }
        self.by_uid.insert(object.uid().to_owned(), object.key.clone());
        if !is_controlled(&object) {
            self.uncontrolled.insert(object.key.clone());
        }
        if !object.key.namespace.is_empty() {
            let at = self.by_namespace.entry(object.key.namespace.to_string()).or_default();
            at.insert(object.key.clone());
        }
        if let Some(node) = object.pod_node() {
            self.pods_by_node.entry(node.to_owned()).or_default().insert(object.key.clone());
        } else if &*object.key.resource == PODS {
            self.unbound_pods.insert(object.key.clone());
        }
        self.objects.insert(object.key.clone(), object);
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Object>> {
        let gone = self.objects.remove(key)?;
        for owner in gone.owner_uids() {
            drop_from(&mut self.by_owner, owner, key);
        }
        self.by_uid.remove(gone.uid());
        self.uncontrolled.remove(key);
        drop_from(&mut self.by_namespace, &key.namespace, key);
        if let Some(node) = gone.pod_node() {
            drop_from(&mut self.pods_by_node, node, key);
        }
        self.unbound_pods.remove(key);
        Some(gone)
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// One object by its uid.
    pub fn by_uid(&self, uid: &str) -> Option<&Arc<Object>> {
        self.by_uid.get(uid).and_then(|key| self.objects.get(key))
    }

    /// Objects of a resource, in one namespace where given, in key order.
    pub fn list<'a>(
        &'a self,
        resource: ResourceId,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> + 'a {
        let from = ObjectKey::new(resource, namespace.unwrap_or(""), "");
        self.objects
            .range((Bound::Included(from.clone()), Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.resource == from.resource && namespace.is_none_or(|namespace| &*key.namespace == namespace)
            })
            .map(|(_, object)| object)
    }

    /// Objects of a resource in a namespace that name no controller, in key order.
    pub fn uncontrolled<'a>(
        &'a self,
        resource: ResourceId,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + 'a {
        let from = ObjectKey::new(resource, namespace, "");
        self.uncontrolled
            .range((Bound::Included(from.clone()), Bound::Unbounded))
            .take_while(move |key| key.resource == from.resource && key.namespace == from.namespace)
            .filter_map(|key| self.objects.get(key))
    }

    /// Every object in a namespace, in key order.
    pub fn in_namespace<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Arc<Object>> + 'a {
        self.by_namespace.get(namespace).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Keys that are in the snapshot and not in `keep`.
    pub fn keys_outside(&self, keep: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        self.objects.keys().filter(|key| !keep.contains(key)).cloned().collect()
    }

    /// Pods that no node has been chosen for.
    pub fn unbound_pods(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.unbound_pods.iter().filter_map(|key| self.objects.get(key))
    }

    /// Nodes that have pods bound to them, whether or not a node object of that name exists.
    pub fn nodes_with_pods(&self) -> impl Iterator<Item = &str> {
        self.pods_by_node.keys().map(String::as_str)
    }

    /// Every object, in key order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Objects that name `uid` among their owners.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Object>> + 'a {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Pods bound to `node`.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Object>> + 'a {
        self.pods_by_node.get(node).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }
}

fn is_controlled(object: &Object) -> bool {
    object.meta.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

fn drop_from(index: &mut BTreeMap<String, BTreeSet<ObjectKey>>, at: &str, key: &ObjectKey) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
