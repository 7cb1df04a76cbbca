//! The `kube` crate does what kubectl does.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::AsyncReadExt;

use super::node::{Node, web};

#[test]
fn the_kube_crate_applies_watches_execs_and_deletes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let node = Node::start("embedded");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = connect(&node).await;
        config_maps(Api::default_namespaced(client.clone())).await;
        causes(&client, &node).await;
        deployment(client, &node).await;
    });
}

async fn connect(node: &Node) -> kube::Client {
    let file = Kubeconfig::read_from(node.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a config");
    kube::Client::try_from(config).expect("a client")
}

async fn config_maps(maps: Api<ConfigMap>) {
    let body: ConfigMap =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "m"}, "data": {"k": "1"}})).expect("a map");
    let made = maps.create(&PostParams::default(), &body).await.expect("created");
    let from = made.metadata.resource_version.expect("a version");
    let patch = Patch::Merge(serde_json::json!({"data": {"k": "2"}}));
    maps.patch("m", &PatchParams::default(), &patch).await.expect("patched");
    let stale = maps
        .replace(
            "m",
            &PostParams::default(),
            &ConfigMap {
                metadata: kube::api::ObjectMeta {
                    name: Some("m".into()),
                    resource_version: Some(from.clone()),
                    ..Default::default()
                },
                ..body
            },
        )
        .await;
    assert!(matches!(stale, Err(kube::Error::Api(status)) if status.code == 409), "a stale write is refused");
    maps.delete("m", &DeleteParams::default()).await.expect("deleted");
    let params = WatchParams::default().fields("metadata.name=m").timeout(20);
    let events = maps
        .watch(&params, &from)
        .await
        .expect("a watch")
        .try_take_while(|event| futures::future::ready(Ok(!matches!(event, WatchEvent::Deleted(_)))));
    let events: Vec<_> = events.try_collect().await.expect("events");
    assert!(matches!(events.as_slice(), [WatchEvent::Modified(_)]), "{events:?}");
}

async fn deployment(client: kube::Client, node: &Node) {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client);
    node.apply(&web("kube", 1, "kube"));
    node.kubectl(&["rollout", "status", "deployment/kube", "--timeout=90s"]);
    let found = pods.list(&ListParams::default().labels("app=kube")).await.expect("a list");
    let name = found.items[0].metadata.name.clone().expect("a name");
    let mut session = pods.exec(&name, ["echo", "hi"], &AttachParams::default().stderr(false)).await.expect("exec");
    let mut out = String::new();
    session.stdout().expect("stdout").read_to_string(&mut out).await.expect("output");
    assert_eq!(out, "hi\n");
    let log = pods.logs(&name, &Default::default()).await.expect("a log");
    assert!(!log.is_empty());
    deployments.delete("kube", &DeleteParams::foreground()).await.expect("deleted");
    let gone = WatchParams::default().fields("metadata.name=kube").timeout(60);
    let mut events = deployments.watch(&gone, "0").await.expect("a watch").boxed();
    while let Some(event) = events.try_next().await.expect("an event") {
        if matches!(event, WatchEvent::Deleted(_)) {
            return;
        }
    }
    panic!("the deployment was not removed after its dependents");
}

/// The id that a request is answered with stands beside the start of the container that it led to.
async fn causes(client: &kube::Client, node: &Node) {
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caused"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "shoal.local/toolbox:latest", "args": ["sleep", "forever"]}],
        },
    });
    let request = http::Request::post("/api/v1/namespaces/default/pods").header("content-type", "application/json");
    let request = request.body(kube::client::Body::from(pod.to_string().into_bytes())).expect("a request");
    let answer = client.send(request).await.expect("an answer");
    let id = answer.headers().get("audit-id").and_then(|id| id.to_str().ok()).expect("an id").to_owned();
    node.eventually(&["get", "pod", "caused", "-o=jsonpath={.status.phase}"], |phase| phase == "Running");
    let log = node.log();
    let started = log.lines().any(|line| line.contains(&id) && line.contains("container started"));
    assert!(started, "{id} does not stand beside a container's start:\n{log}");
}
