//! A small API for planners: snapshots built by hand, and plans carried out in memory.

mod dying;
mod keeping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};

use super::command::Propagation;
use super::queue::Queue;
use super::{Command, Controller, Snapshot};
use crate::kube::object::Object;
use crate::kube::resource::{self, id};
use crate::model::{ObjectKey, ResourceId, Revision, Timestamp};

/// 2026-11-20T00:00:00Z.
pub(super) const START: Timestamp = Timestamp(1_795_132_800_000_000);
/// Rounds after which controllers that still write are taken to be in a loop.
const ROUNDS: usize = 400;

/// A cluster in memory: it stores what commands ask for, and lets controllers run until nothing is left to do.
pub(super) struct Cluster {
    pub snapshot: Snapshot,
    pub now: Timestamp,
    pub rng: ChaCha12Rng,
    /// Reasons and messages of events, in order.
    pub events: Vec<String>,
    /// Commands that changed something, by verb and key, in order.
    pub writes: Vec<String>,
    /// Refuses to create pods, as a quota would.
    pub refuse_pods: bool,
    revision: u64,
    changed: Vec<Arc<Object>>,
    queues: BTreeMap<&'static str, Queue>,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            snapshot: Snapshot::default(),
            now: START,
            rng: ChaCha12Rng::seed_from_u64(7),
            events: Vec::new(),
            writes: Vec::new(),
            refuse_pods: false,
            revision: 0,
            changed: Vec::new(),
            queues: BTreeMap::new(),
        }
    }

    /// Stores an object as a client would: uid, times and generation are filled in where they are missing.
    pub(super) fn put(&mut self, mut body: Value) -> ObjectKey {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let row = resource::by_kind(&text("/apiVersion"), &text("/kind")).expect("a kind that is served");
        let key = row.key(&text("/metadata/namespace"), &text("/metadata/name"));
        let before = self.snapshot.get(&key).map(|object| object.value().unwrap());
        let meta = body["metadata"].as_object_mut().unwrap();
        let serial = self.revision + 1;
        meta.entry("uid").or_insert_with(|| format!("uid-{serial}").into());
        meta.entry("creationTimestamp").or_insert_with(|| self.now.rfc3339().into());
        meta.entry("generation").or_insert_with(|| 1.into());
        if let Some(before) = before.filter(|before| before["spec"] != body["spec"]) {
            body["metadata"]["generation"] = (before["metadata"]["generation"].as_i64().unwrap_or(1) + 1).into();
        }
        self.store(&key, &body);
        key
    }

    fn store(&mut self, key: &ObjectKey, body: &Value) {
        self.revision += 1;
        let bytes = serde_json::to_vec(body).unwrap().into();
        let object = Arc::new(Object::new(key.clone(), Revision(self.revision), bytes).unwrap());
        if let Some(before) = self.snapshot.get(key) {
            self.changed.push(Arc::clone(before));
        }
        self.snapshot.put(Arc::clone(&object));
        self.changed.push(object);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        if let Some(gone) = self.snapshot.remove(key) {
            self.revision += 1;
            self.snapshot.advance(Revision(self.revision));
            self.changed.push(gone);
        }
    }

    /// Gossip suspects exactly these nodes from now on.
    pub(super) fn doubt(&mut self, nodes: Vec<String>) {
        for name in self.snapshot.doubt(nodes.into_iter().collect()) {
            let node = self.snapshot.get(&ObjectKey::new(id::NODES, "", &name)).expect("a node that is there");
            self.changed.push(Arc::clone(node));
        }
    }

    pub(super) fn value(&self, key: &ObjectKey) -> Value {
        self.snapshot.get(key).map(|object| object.value().unwrap()).unwrap_or_default()
    }

    /// Changes one object in place.
    pub(super) fn edit(&mut self, key: &ObjectKey, edit: impl FnOnce(&mut Value)) {
        let mut body = self.value(key);
        edit(&mut body);
        self.put(body);
    }

    pub(super) fn list(&self, resource: ResourceId) -> Vec<Value> {
        self.snapshot.list(resource, None).map(|object| object.value().unwrap()).collect()
    }

    pub(super) fn names(&self, resource: ResourceId) -> Vec<String> {
        self.snapshot.list(resource, None).map(|object| object.key.name.to_string()).collect()
    }

    /// What a kubelet would do: the pod runs and is ready (or not) from now on.
    pub(super) fn set_ready(&mut self, key: &ObjectKey, ready: bool) {
        let since = self.now.rfc3339();
        self.edit(key, |pod| {
            pod["status"] = json!({
                "phase": "Running",
                "podIP": "10.0.0.1",
                "conditions": [{
                    "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": since,
                }],
            });
        });
    }

    /// Lets controllers run until all of them are done, time standing still. `after` is called after each plan.
    pub(super) fn settle_with(&mut self, controllers: &[&dyn Controller], mut after: impl FnMut(&Self)) {
        for controller in controllers {
            self.queues.entry(controller.name()).or_insert_with(|| {
                let mut queue = Queue::default();
                controller.initial().into_iter().for_each(|key| queue.mark(key, 0, START));
                queue
            });
        }
        for _ in 0..ROUNDS {
            let changed = std::mem::take(&mut self.changed);
            let mut idle = true;
            for controller in controllers {
                let queue = self.queues.entry(controller.name()).or_default();
                for key in changed.iter().flat_map(|object| controller.marks(object, &self.snapshot)) {
                    queue.mark(key, 0, self.now);
                }
                let keys: Vec<_> = queue.take_due(self.now, 512).into_iter().map(|due| due.key).collect();
                let plans = controller.reconcile_batch(&keys, &self.snapshot, self.now, &mut self.rng);
                for (key, plan) in keys.into_iter().zip(plans) {
                    idle = false;
                    let plan = plan.expect("everything decodes");
                    if let Some(delay) = plan.again_after {
                        self.queues.entry(controller.name()).or_default().again(key.clone(), delay, self.now);
                    }
                    self.carry(*controller, &key, plan.commands);
                    after(self);
                }
            }
            if idle && self.changed.is_empty() {
                return;
            }
        }
        panic!(
            "controllers do not come to rest; last writes: {:#?}",
            self.writes.iter().rev().take(12).collect::<Vec<_>>()
        );
    }

    pub(super) fn settle(&mut self, controllers: &[&dyn Controller]) {
        self.settle_with(controllers, |_| {});
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn carry(&mut self, controller: &dyn Controller, key: &ObjectKey, commands: Vec<Command>) {
        for command in commands {
            if self.refuse_pods && matches!(&command, Command::Create { resource, .. } if *resource == id::PODS) {
                let said = controller.refused(key, &command, "exceeded quota", &self.snapshot, self.now).unwrap();
                said.into_iter().for_each(|command| assert!(self.apply(command)));
                return;
            }
            if !self.apply(command) {
                self.queues.entry(controller.name()).or_default().mark(key.clone(), 0, self.now);
                return;
            }
        }
    }

    /// Carries one command out; `false` where it was made from an old version.
    pub(super) fn apply(&mut self, command: Command) -> bool {
        match command {
            Command::Create { resource, namespace, body } => self.create(resource, &namespace, body),
            Command::Update { key, subresource, revision, body } => {
                if self.snapshot.get(&key).is_none_or(|object| object.revision != revision) {
                    return false;
                }
                self.update(&key, subresource, body);
            }
            Command::Patch { key, subresource, body } => {
                let mut whole = self.value(&key);
                json_patch::merge(&mut whole, &body);
                self.update(&key, subresource, whole);
            }
            Command::Bind { key, node, .. } => {
                self.writes.push(format!("bind {key} {node}"));
                self.edit(&key, |pod| pod["spec"]["nodeName"] = node.into());
            }
            Command::Delete { key, propagation, grace_seconds, .. } => self.delete(&key, propagation, grace_seconds),
            Command::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
        }
        true
    }

    fn create(&mut self, resource: ResourceId, namespace: &str, mut body: Value) {
        let name = body["metadata"]["name"].as_str().expect("planners name what they create").to_owned();
        let key = ObjectKey::new(resource, namespace, &name);
        if self.snapshot.get(&key).is_none() {
            if !namespace.is_empty() {
                body["metadata"]["namespace"] = namespace.into();
            }
            self.writes.push(format!("create {key}"));
            self.put(body);
        }
    }

    fn update(&mut self, key: &ObjectKey, subresource: Option<&str>, body: Value) {
        let mut whole = self.value(key);
        match subresource {
            Some("status") => whole["status"] = body["status"].clone(),
            Some("finalize") => whole["spec"] = body["spec"].clone(),
            _ => {
                let status = whole["status"].take();
                whole = body;
                whole["status"] = status;
            }
        }
        if whole == self.value(key) {
            return;
        }
        self.writes.push(format!("update {key}{}", subresource.map(|name| format!("/{name}")).unwrap_or_default()));
        let terminating = whole["metadata"]["deletionTimestamp"].is_string();
        let empty = |pointer: &str| whole.pointer(pointer).and_then(Value::as_array).is_none_or(Vec::is_empty);
        if terminating && empty("/metadata/finalizers") && empty("/spec/finalizers") && !key.is(id::PODS) {
            self.remove(key);
        } else {
            self.put(whole);
        }
    }

    pub(super) fn delete(&mut self, key: &ObjectKey, propagation: Option<Propagation>, grace: Option<i64>) {
        let mut body = self.value(key);
        if body.is_null() {
            return;
        }
        self.writes.push(format!("delete {key}"));
        let finalizer = match propagation {
            Some(Propagation::Foreground) => Some("foregroundDeletion"),
            Some(Propagation::Orphan) => Some("orphan"),
            _ => None,
        };
        if let Some(finalizer) = finalizer {
            let finalizers = body["metadata"].as_object_mut().unwrap().entry("finalizers").or_insert(json!([]));
            finalizers.as_array_mut().unwrap().push(finalizer.into());
        }
        let held = ["/metadata/finalizers", "/spec/finalizers"]
            .iter()
            .any(|at| body.pointer(at).and_then(Value::as_array).is_some_and(|list| !list.is_empty()));
        let graceful = key.is(id::PODS) && body["spec"]["nodeName"].is_string() && grace != Some(0);
        if held || graceful {
            body["metadata"]["deletionTimestamp"] = self.now.rfc3339().into();
            self.put(body);
        } else {
            self.remove(key);
        }
    }
}

/// A node with room for `pods` pods, `cpu` and `memory` as quantities.
pub(super) fn node(name: &str, cpu: &str, memory: &str, pods: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "status": {
            "allocatable": { "cpu": cpu, "memory": memory, "pods": pods.to_string() },
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// A pod with one container.
pub(super) fn pod(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": { "containers": [{ "name": "main", "image": "a" }] },
    })
}
