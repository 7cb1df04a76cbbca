//! The cluster's own paths: who may, what is asked, what is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::api::cluster::{self, Cluster};
use crate::api::registry::store_failure;
use crate::kube::status::Status;
use crate::mesh::member::{Life, Member, Meta, View};
use crate::model::{NodeId, Timestamp};
use crate::store;

/// Writes down what it is asked.
#[derive(Default)]
struct Fake(Mutex<Vec<String>>);

impl Fake {
    #[allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value, reason = "the form of the trait's answers")]
    fn done(&self, what: String) -> Result<Value, Status> {
        self.0.lock().push(what.clone());
        Ok(json!({ "did": what }))
    }
}

#[async_trait]
impl Cluster for Fake {
    async fn members(&self) -> Result<Value, Status> {
        self.done("members".into())
    }

    async fn quorum(&self) -> Result<Value, Status> {
        self.done("quorum".into())
    }

    fn fingerprint(&self) -> String {
        "c".into()
    }

    async fn recovery(&self) -> Result<Value, Status> {
        self.done("recovery".into())
    }

    async fn recover(&self, dry_run: bool) -> Result<Value, Status> {
        self.done(format!("recover {dry_run}"))
    }

    async fn move_actor(&self, actor: &str, node: Option<&str>) -> Result<Value, Status> {
        self.done(format!("move {actor} to {node:?}"))
    }

    async fn leave(&self, name: &str) -> Result<Value, Status> {
        if name == "ghost" {
            return Err(Status::not_found("", "members", name));
        }
        self.done(format!("leave {name}"))
    }

    async fn create_token(&self, ttl: Duration, uses: Option<u32>) -> Result<Value, Status> {
        self.done(format!("token {}s {uses:?}", ttl.as_secs()))
    }

    async fn tokens(&self) -> Result<Value, Status> {
        self.done("tokens".into())
    }

    async fn revoke_token(&self, id: &str) -> Result<Value, Status> {
        self.done(format!("revoke {id}"))
    }

    /// A quorum that never answers.
    async fn rotate_authority(&self) -> Result<Value, Status> {
        std::future::pending().await
    }
}

async fn clustered() -> (Api, Arc<Fake>) {
    let (api, fake) = (Api::start().await, Arc::new(Fake::default()));
    assert!(api.service.cluster.set(fake.clone()).is_ok());
    (api, fake)
}

#[tokio::test]
async fn each_path_asks_the_cluster_for_one_thing() {
    let (api, _) = clustered().await;
    for (method, path, body, expect) in [
        ("GET", "/shoal/v1/members", Value::Null, "members"),
        ("POST", "/shoal/v1/members/node-b/leave", Value::Null, "leave node-b"),
        ("GET", "/shoal/v1/quorum", Value::Null, "quorum"),
        ("GET", "/shoal/v1/recover", Value::Null, "recovery"),
        ("POST", "/shoal/v1/recover", Value::Null, "recover false"),
        ("POST", "/shoal/v1/recover", json!({ "dryRun": true }), "recover true"),
        ("POST", "/shoal/v1/actors/scheduler/move", json!({ "node": "b" }), "move scheduler to Some(\"b\")"),
        ("POST", "/shoal/v1/actors/scheduler/move", Value::Null, "move scheduler to None"),
        ("GET", "/shoal/v1/tokens", Value::Null, "tokens"),
        ("POST", "/shoal/v1/tokens", Value::Null, "token 86400s None"),
        ("POST", "/shoal/v1/tokens", json!({}), "token 86400s None"),
        ("POST", "/shoal/v1/tokens", json!({ "ttl_seconds": 60, "uses": 3 }), "token 60s Some(3)"),
        ("DELETE", "/shoal/v1/tokens/ab12", Value::Null, "revoke ab12"),
    ] {
        assert_eq!(api.ok(method, path, body).await, json!({ "did": expect }), "{method} {path}");
    }
    assert_eq!(api.with("HEAD", "/shoal/v1/members", &[], Bytes::new()).await.text, "");
    let refusal = api.send("POST", "/shoal/v1/members/ghost/leave", Value::Null).await;
    assert_eq!((refusal.code, refusal.body["reason"].as_str()), (404, Some("NotFound")));
}

#[tokio::test]
async fn what_is_malformed_reaches_nobody() {
    let (api, fake) = clustered().await;
    let long = "x".repeat(5000);
    for (method, path, body, code) in [
        ("GET", "/shoal", "", 404),
        ("GET", "/shoal/v2/members", "", 404),
        ("GET", "/shoal/v1/nothing", "", 404),
        ("PUT", "/shoal/v1/members", "", 405),
        ("GET", "/shoal/v1/members/b/leave", "", 405),
        ("POST", "/shoal/v1/members/a%0ab/leave", "", 400),
        ("POST", "/shoal/v1/recover", r#"{"dry_run": true}"#, 400),
        ("POST", "/shoal/v1/tokens", "{", 400),
        ("POST", "/shoal/v1/tokens", "[]", 400),
        ("POST", "/shoal/v1/tokens", r#"{"ttl": 5}"#, 400),
        ("POST", "/shoal/v1/tokens", r#"{"ttl_seconds": 0}"#, 400),
        ("POST", "/shoal/v1/tokens", r#"{"ttl_seconds": 99999999}"#, 400),
        ("POST", "/shoal/v1/tokens", r#"{"ttl_seconds": -1}"#, 400),
        ("POST", "/shoal/v1/tokens", r#"{"uses": 0}"#, 400),
        ("POST", "/shoal/v1/tokens", long.as_str(), 413),
    ] {
        let reply = api.with(method, path, &[(CONTENT_TYPE.as_str(), "application/json")], body.to_owned()).await;
        assert_eq!((reply.code, reply.body["kind"].as_str()), (code, Some("Status")), "{method} {path} {body}");
    }
    assert!(fake.0.lock().is_empty());
}

#[tokio::test]
async fn only_administrators_come_through() {
    let (api, fake) = clustered().await;
    for (identity, code) in [
        (Identity::node("node-b"), 403),
        (Identity::new("somebody", &["system:authenticated"]), 403),
        (Identity::controller("scheduler"), 403),
    ] {
        let request = Request::builder().uri("/shoal/v1/tokens").body(body::empty()).unwrap();
        assert_eq!(api.raw(request, Some(identity.clone())).await.status(), code, "{identity:?}");
    }
    let request = Request::builder().uri("/shoal/v1/members").body(body::empty()).unwrap();
    assert_eq!(api.raw(request, None).await.status(), 401);
    assert!(fake.0.lock().is_empty());
}

#[tokio::test]
async fn a_node_without_a_mesh_says_so_and_one_without_a_quorum_does_not_hang() {
    let alone = Api::start().await;
    let reply = alone.send("GET", "/shoal/v1/members", Value::Null).await;
    assert_eq!((reply.code, reply.body["reason"].as_str()), (503, Some("ServiceUnavailable")));
    let (api, _) = clustered().await;
    tokio::time::pause();
    assert_eq!(api.send("POST", "/shoal/v1/authority/rotate", Value::Null).await.code, 504);
}

#[test]
fn members_are_listed_by_name_with_what_they_tell() {
    let member = |name: &str, life| Member {
        node: NodeId(name.into()),
        generation: 7,
        incarnation: 2,
        life,
        since: Timestamp(0),
        meta: Meta { zone: "z".into(), addresses: vec!["10.0.0.1:6443".parse().unwrap()], ..Meta::default() },
        round_trip: (name == "b").then(|| Duration::from_micros(250)),
    };
    let all = [member("b", Life::Suspect), member("a", Life::Alive)];
    let members = BTreeMap::from(all.map(|member| (member.node.clone(), member)));
    let value = cluster::members(&View { me: NodeId("a".into()), members, local_health: 1 });
    assert_eq!((value["me"].as_str(), value["localHealth"].as_u64()), (Some("a"), Some(1)));
    assert_eq!((value["items"][0]["name"].as_str(), value["items"][1]["name"].as_str()), (Some("a"), Some("b")));
    let b = &value["items"][1];
    assert_eq!((b["state"].as_str(), b["roundTripMicros"].as_u64()), (Some("suspect"), Some(250)));
    assert_eq!((b["addresses"][0].as_str(), b["zone"].as_str()), (Some("10.0.0.1:6443"), Some("z")));
    assert!(value["items"][0]["roundTripMicros"].is_null());
}

#[tokio::test]
async fn without_a_quorum_reads_warn_and_writes_say_why_not() {
    let api = Api::start().await;
    let listed = api.send("GET", "/api/v1/namespaces", Value::Null).await;
    assert_eq!((listed.code, listed.headers.get("warning")), (200, None));
    // Another voter that nobody reaches: the change itself cannot be confirmed any more.
    let store = api.service.registry.store().clone();
    store.add_learner(2, "n2").await.unwrap();
    let _ = tokio::time::timeout(Duration::from_millis(500), store.promote(2)).await;
    for (path, code) in [
        ("/api/v1/namespaces", 200),
        ("/api/v1/namespaces/default", 200),
        ("/api/v1/namespaces/new", 404),
        ("/api/v1/namespaces?watch=1&timeoutSeconds=1", 200),
    ] {
        let reply = api.send("GET", path, Value::Null).await;
        let warning = reply.headers.get("warning").and_then(|text| text.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(reply.code, code, "{path}");
        assert!(
            warning.starts_with("299 - \"the cluster has no quorum") && warning.contains("may be stale"),
            "{path}: {warning}"
        );
    }
    let any = api.send("GET", "/api/v1/namespaces?resourceVersion=0", Value::Null).await;
    assert_eq!((any.code, any.headers.get("warning")), (200, None), "any revision was good enough");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = api.send("POST", "/api/v1/namespaces", json!({ "metadata": { "name": "late" } })).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (503, Some("ServiceUnavailable")));
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.starts_with("no quorum: 1 of 2 voters are reachable"), "{message}");
    for path in ["/api/v1/namespaces/new", "/api/v1/namespaces/new/configmaps/a"] {
        let refused = api.send("DELETE", path, Value::Null).await;
        assert_eq!(refused.code, 503, "{path}: nobody knows whether it is there");
    }
    let refused = api.send("POST", "/api/v1/namespaces/new/configmaps", json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(refused.code, 503, "nor whether the namespace is");
}

#[test]
fn failures_of_a_disk_are_told_as_what_they_are() {
    let told = |error: store::Error| {
        let status = store_failure(&error);
        (status.code, status.reason)
    };
    assert_eq!(told(store::Error::DiskFull), (507, "InsufficientStorage"));
    assert_eq!(told(store::Error::Disk), (503, "ServiceUnavailable"));
}

#[tokio::test]
async fn a_backup_is_whole_and_what_was_changed_since_is_restored_with_its_uid() {
    let (api, _) = clustered().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let made = api.ok("POST", path, json!({ "metadata": { "name": "a" }, "data": { "k": "old" } })).await;
    let request = Request::builder().uri("/shoal/v1/backup").body(body::empty()).unwrap();
    let response = api.raw(request, Some(Identity::admin())).await;
    let file = response.into_body().collect().await.unwrap().to_bytes();
    let (head, objects) = crate::store::backup::verify(&file[..]).unwrap();
    assert_eq!((head.cluster.as_str(), objects), ("c", 3));
    api.ok("DELETE", &format!("{path}/a"), Value::Null).await;
    let mut reader = crate::store::backup::Reader::open(&file[..]).unwrap();
    let mut changes = Vec::new();
    while let Some(object) = reader.next_object().unwrap() {
        changes.push(crate::api::backup::Change { key: object.key, value: Some(object.value) });
    }
    let batch = rmp_serde::to_vec_named(&crate::api::backup::Batch(changes.clone())).unwrap();
    let done = api.with("POST", "/shoal/v1/restore", &[], batch).await;
    assert_eq!(done.code, 200, "{}", done.text);
    let found = api.ok("GET", &format!("{path}/a"), Value::Null).await;
    assert_eq!((&found["metadata"]["uid"], found["data"]["k"].as_str()), (&made["metadata"]["uid"], Some("old")));
    assert_ne!(found["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let mut own = changes[0].clone();
    own.key.resource = "nodes".into();
    let batch = rmp_serde::to_vec_named(&crate::api::backup::Batch(vec![own])).unwrap();
    assert_eq!(api.with("POST", "/shoal/v1/restore", &[], batch).await.code, 403);
    assert_eq!(api.with("POST", "/shoal/v1/restore", &[], "garbage").await.code, 400);
}
