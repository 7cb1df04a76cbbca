//! An API in memory: objects with revisions, their changes, and the few rules that a node relies on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::actors::agent::parts::{Changes, Objects, Quorum};
use crate::actors::executor::Executor;
use crate::kube::status::Status;
use crate::model::{ObjectKey, Revision, Scope};
use crate::plan::Command;
use crate::store::watch::Batch;
use crate::store::{Change, ChangeKind, Error, Record};

#[derive(Default)]
pub struct FakeApi {
    /// Whether nobody answers for the quorum; writes and changes pass all the same.
    pub cut_off: AtomicBool,
    questions: AtomicUsize,
    me: Weak<Self>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Arc<Record>>,
    history: Vec<Arc<Change>>,
    revision: u64,
    status_writes: BTreeMap<String, usize>,
    events: Vec<String>,
}

impl FakeApi {
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self { me: me.clone(), ..Self::default() })
    }

    pub fn value(&self, key: &ObjectKey) -> Option<Value> {
        let record = self.state.lock().objects.get(key).cloned()?;
        Some(serde_json::from_slice(&record.value).unwrap())
    }

    /// How often was asked for the quorum.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    pub fn revision(&self) -> u64 {
        self.state.lock().revision
    }

    pub fn status_writes(&self, name: &str) -> usize {
        self.state.lock().status_writes.get(name).copied().unwrap_or(0)
    }

    pub fn events(&self) -> Vec<String> {
        self.state.lock().events.clone()
    }

    pub fn put(&self, key: ObjectKey, value: Value) -> Revision {
        let mut state = self.state.lock();
        let revision = state.write(key, Some(value));
        drop(state);
        self.changed.notify_waiters();
        revision
    }

    /// What a client's graceful deletion does.
    pub fn delete(&self, key: &ObjectKey, grace: i64) {
        let mut value = self.value(key).unwrap();
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        value["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.put(key.clone(), value);
    }

    /// Removes an object at once.
    pub fn forget(&self, key: &ObjectKey) {
        self.state.lock().write(key.clone(), None);
        self.changed.notify_waiters();
    }

    fn update(&self, key: ObjectKey, revision: Revision, body: &Value) -> Result<Option<Revision>, Status> {
        let known = self.state.lock().objects.get(&key).cloned();
        let Some(known) = known else { return Err(Status::not_found("", "pods", &key.name)) };
        if known.modified != revision {
            return Err(Status::conflict("", "pods", &key.name, "the object has been modified"));
        }
        let mut value: Value = serde_json::from_slice(&known.value).unwrap();
        value["status"] = body["status"].clone();
        *self.state.lock().status_writes.entry(key.name.to_string()).or_default() += 1;
        Ok(Some(self.put(key, value)))
    }
}

impl State {
    fn write(&mut self, key: ObjectKey, value: Option<Value>) -> Revision {
        self.revision += 1;
        let modified = Revision(self.revision);
        let previous = self.objects.remove(&key);
        let bytes = match &value {
            Some(value) => Bytes::from(value.to_string()),
            None => previous.as_ref().map(|record| record.value.clone()).unwrap_or_default(),
        };
        let record = Arc::new(Record { key: key.clone(), created: modified, modified, value: bytes, splice: 0 });
        let kind = match (&value, &previous) {
            (None, _) => ChangeKind::Deleted,
            (Some(_), None) => ChangeKind::Created,
            (Some(_), Some(_)) => ChangeKind::Updated,
        };
        if value.is_some() {
            self.objects.insert(key, Arc::clone(&record));
        }
        self.history.push(Arc::new(Change { kind, record, previous, cause: 0 }));
        modified
    }
}

#[async_trait]
impl Quorum for FakeApi {
    async fn answers(&self) -> bool {
        self.questions.fetch_add(1, Ordering::SeqCst);
        if self.cut_off.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        true
    }
}

#[async_trait]
impl Executor for FakeApi {
    async fn execute(&self, _: &str, _: u64, command: Command) -> Result<Option<Revision>, Status> {
        match command {
            Command::Create { resource, namespace, mut body } => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                body["metadata"]["uid"] = json!(format!("uid-of-{name}"));
                Ok(Some(self.put(ObjectKey::new(resource, &namespace, &name), body)))
            }
            Command::Update { key, revision, body, .. } => self.update(key, revision, &body),
            Command::Patch { key, body, .. } => {
                let Some(mut value) = self.value(&key) else { return Err(Status::not_found("", "", &key.name)) };
                json_patch::merge(&mut value, &body);
                Ok(Some(self.put(key, value)))
            }
            Command::Delete { key, .. } => {
                self.forget(&key);
                Ok(None)
            }
            Command::Event { regarding, reason, message, .. } => {
                self.state.lock().events.push(format!("{} {reason}: {message}", regarding.key.name));
                Ok(None)
            }
            Command::Bind { .. } => Err(Status::bad_request("a node binds nothing")),
        }
    }
}

#[async_trait]
impl Objects for FakeApi {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Record>> {
        self.state.lock().objects.get(key).cloned()
    }

    fn list(&self, scope: &Scope) -> Result<(Vec<Arc<Record>>, Revision), Error> {
        let state = self.state.lock();
        let records = state.objects.iter().filter(|(key, _)| scope.covers(key)).map(|(_, record)| Arc::clone(record));
        Ok((records.collect(), Revision(state.revision)))
    }

    fn watch(&self, _: Scope, from: Revision) -> Result<Box<dyn Changes>, Error> {
        let api = self.me.upgrade().unwrap();
        Ok(Box::new(Follower { api, seen: from }))
    }
}

struct Follower {
    api: Arc<FakeApi>,
    seen: Revision,
}

#[async_trait]
impl Changes for Follower {
    async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            let changed = self.api.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let changes: Vec<_> = {
                let state = self.api.state.lock();
                state.history.iter().filter(|change| change.revision() > self.seen).cloned().collect()
            };
            if let Some(last) = changes.last() {
                self.seen = last.revision();
                return Ok(Batch { revision: self.seen, changes });
            }
            changed.await;
        }
    }
}
