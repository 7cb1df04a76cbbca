//! One controller against a small API whose writes come back late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use ractor::Actor;
use rand::RngCore;
use serde_json::json;

use super::*;
use crate::kube::object::Object;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::{ObjectKey, Revision, Timestamp};
use crate::plan::{Command, Snapshot};
use crate::store::{Change, ChangeKind, Record};
use crate::world::clock::VirtualClock;
use crate::world::disk::sim::SimDisk;
use crate::world::entropy::SeededEntropy;

/// Wants one pod for each config map, of the same name.
struct OnePodEach;

impl Controller for OnePodEach {
    fn name(&self) -> &'static str {
        "one-pod-each"
    }

    fn marks(&self, object: &Object, _: &Snapshot) -> Vec<ObjectKey> {
        vec![ObjectKey::new(id::CONFIG_MAPS, &object.key.namespace, &object.key.name)]
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        _: Timestamp,
        _: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let Some(object) = snapshot.get(key) else { return Ok(Plan::default()) };
        object.view::<k8s_openapi::api::core::v1::ConfigMap>()?;
        let pod = ObjectKey::new(id::PODS, &key.namespace, &key.name);
        let missing = snapshot.get(&pod).is_none();
        let body = json!({ "metadata": { "name": &*key.name } });
        let create = Command::Create { resource: id::PODS, namespace: key.namespace.to_string(), body };
        Ok(Plan { commands: missing.then_some(create).into_iter().collect(), again_after: None })
    }
}

/// Acknowledges a write at once and shows it in the mirror a while later.
struct LateApi {
    mirror: Arc<Mirror>,
    revision: AtomicU64,
    asked: Mutex<Vec<String>>,
    /// Refuses that many writes first.
    refuse: AtomicU64,
}

impl LateApi {
    fn show(&self, key: &ObjectKey, body: &serde_json::Value, revision: u64) {
        let value = serde_json::to_vec(body).unwrap().into();
        let revision = Revision(revision);
        let record = Arc::new(Record { key: key.clone(), created: revision, modified: revision, value, splice: 0 });
        let change = Change { kind: ChangeKind::Created, record, previous: None, cause: 42 };
        self.mirror.apply(&[Arc::new(change)], revision).unwrap();
    }

    fn client_creates(&self, name: &str, body: serde_json::Value) {
        let mut body = body;
        body["metadata"] = json!({ "name": name, "namespace": "default", "uid": name });
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        self.show(&ObjectKey::new(id::CONFIG_MAPS, "default", name), &body, revision);
    }
}

struct Door(Arc<LateApi>);

#[async_trait]
impl Executor for Door {
    async fn execute(&self, identity: &str, cause: u64, command: Command) -> Result<Option<Revision>, Status> {
        let Command::Create { namespace, body, .. } = command else { return Ok(None) };
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        self.0.asked.lock().push(format!("{identity} {cause} {name}"));
        let refusals = self.0.refuse.load(Ordering::SeqCst);
        if refusals > 0 {
            self.0.refuse.store(refusals - 1, Ordering::SeqCst);
            return Err(Status::forbidden("", "pods", &name, "not today"));
        }
        let revision = self.0.revision.fetch_add(1, Ordering::SeqCst) + 1;
        let api = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            api.show(
                &ObjectKey::new(id::PODS, &namespace, &name),
                &json!({ "metadata": { "uid": revision.to_string() } }),
                revision,
            );
        });
        Ok(Some(Revision(revision)))
    }
}

async fn start() -> (Arc<LateApi>, Metrics, ActorRef<Message>) {
    let mirror = Arc::new(Mirror::default());
    let api = Arc::new(LateApi {
        mirror: Arc::clone(&mirror),
        revision: AtomicU64::new(1),
        asked: Mutex::default(),
        refuse: AtomicU64::new(0),
    });
    let world = World {
        clock: Arc::new(VirtualClock::starting_at(Timestamp(0))),
        entropy: Arc::new(SeededEntropy::new(1)),
        disk: SimDisk::new(1).boot(),
    };
    let metrics = Metrics::default();
    let door = Arc::new(Door(Arc::clone(&api)));
    let control = Control::new(Arc::new(OnePodEach), mirror, door, world, metrics.clone());
    let (actor, _) = Actor::spawn(None, ControlActor, control).await.unwrap();
    // The first look, at everything, finds nothing; what follows has a cause.
    api.mirror.apply(&[], Revision(1)).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    (api, metrics, actor)
}

#[tokio::test(start_paused = true)]
async fn a_write_is_seen_before_the_key_is_planned_again() {
    let (api, _, actor) = start().await;
    api.client_creates("a", json!({}));
    tokio::time::sleep(Duration::from_millis(10)).await;
    api.client_creates("b", json!({}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = api.asked.lock().clone();
    assert_eq!(asked, ["system:controller:one-pod-each 42 a", "system:controller:one-pod-each 42 b"]);
    actor.stop(None);
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_tried_again_later_and_later() {
    let (api, metrics, actor) = start().await;
    api.refuse.store(5, Ordering::SeqCst);
    api.client_creates("a", json!({}));
    tokio::time::sleep(Duration::from_millis(19)).await;
    assert_eq!(api.asked.lock().len(), 1);
    tokio::time::sleep(Duration::from_millis(22)).await;
    assert_eq!(api.asked.lock().len(), 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(api.asked.lock().len(), 6);
    let label = vec![("controller".to_owned(), "one-pod-each".to_owned())];
    assert_eq!(metrics.refusals.get_or_create(&label).get(), 5);
    actor.stop(None);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_object_stops_its_own_key_and_is_counted() {
    let (api, metrics, actor) = start().await;
    api.client_creates("bad", json!({ "data": 7 }));
    api.client_creates("good", json!({}));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*api.asked.lock(), ["system:controller:one-pod-each 42 good"]);
    let label = vec![("controller".to_owned(), "one-pod-each".to_owned())];
    assert_eq!(metrics.undecodable.get_or_create(&label).get(), 1);
    actor.stop(None);
}
