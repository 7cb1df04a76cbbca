//! The store as its users see it, on a real directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::model::{ResourceId, Scope};
use crate::world::World;
use crate::world::clock::SystemClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SystemEntropy;

const PODS: ResourceId = ResourceId::new("", "pods");

fn world() -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) }
}

async fn open(dir: &Path) -> Store {
    for _ in 0..200 {
        match Store::open(StoreOptions::new(dir, "n1"), world()).await {
            Err(Error::Locked(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return other.unwrap(),
        }
    }
    panic!("the directory stays locked");
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(PODS, "default", name)
}

fn put(name: &str, expect: Expect) -> Txn {
    let value = Bytes::from_static(br#"{"resourceVersion":""}"#);
    Txn::one(Op { key: key(name), expect, action: Action::Put { value, splice: 20 } }, 7)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_readable_watched_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let start = store.revision();
    let mut watch = store.watch(Scope::resource(PODS, None), start).unwrap();
    let made = store.commit(put("a", Expect::Absent)).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.changes.len(), batch.revision), (1, made.revision));
    let value = format!(r#"{{"resourceVersion":"{}"}}"#, made.revision);
    assert_eq!(store.get(&key("a")).unwrap().value, value);
    let refused = store.commit(put("a", Expect::Absent)).await.unwrap_err();
    assert_eq!(refused, Error::Conflict { key: key("a"), actual: Some(made.revision) });
    assert!(matches!(Store::open(StoreOptions::new(dir.path(), "n1"), world()).await, Err(Error::Locked(_))));
    store.close().await;
    assert_eq!(store.commit(put("b", Expect::Any)).await.unwrap_err(), Error::Unavailable);
    let again = open(dir.path()).await;
    assert_eq!(again.get(&key("a")).unwrap().value, value);
    assert!(again.commit(put("b", Expect::Absent)).await.unwrap().revision > made.revision);
    let mut watch = again.watch(Scope::ALL, start).unwrap();
    let names: Vec<_> = watch.next().await.unwrap().changes.iter().map(|c| c.record.key.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
}
