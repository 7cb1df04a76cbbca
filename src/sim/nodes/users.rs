//! Users of the cluster on every node: sets of pods, of which some must not run twice, are made, scaled, changed and lose
//! pods, through the API of the own node.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};

use super::body::IMAGE;
use crate::api::service::Service;
use crate::sim::client::{Answer, Client};
use crate::sim::cluster::workload::Shared;
use crate::sim::home;
use crate::sim::mesh::net::Slot;
use crate::world::entropy::Rng;

/// Where they deploy.
pub const NAMESPACE: &str = "sim";
/// Deployments of one pod that must not run twice.
pub const SOLOS: [&str; 2] = ["solo", "lone"];
/// A deployment like any other.
const WEB: &str = "web";
/// Its most replicas.
const MOST_REPLICAS: u32 = 5;
/// Waits between two changes.
const PAUSE_MS: (u64, u64) = (1_000, 12_000);
/// Wait before what should be there is asked for again.
const AGAIN: Duration = Duration::from_millis(700);

/// Works until there is quiet.
pub async fn work(service: Arc<Service>, slot: Slot, shared: Shared, mut rng: Rng) {
    let client = home::client(service);
    for (path, body) in wanted() {
        loop {
            let answer = client.post(&path, body.clone()).await;
            // Another node's users may have been first.
            if answer.done() || answer.code == 409 {
                break;
            }
            let why = answer.body.get("message").and_then(Value::as_str).unwrap_or_default();
            shared.trace.note(format!("n{slot} asks for {path}: {} {why}", answer.code));
            tokio::time::sleep(AGAIN).await;
        }
    }
    shared.trace.note(format!("n{slot} knows that everything is asked for"));
    loop {
        tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE_MS.0..PAUSE_MS.1))).await;
        if shared.is_quiet() {
            return;
        }
        let (what, answer) = change(&client, &mut rng).await;
        shared.trace.note(format!("n{slot} asks: {what}: {}", answer.code));
    }
}

async fn change(client: &Client, rng: &mut Rng) -> (String, Answer) {
    match rng.random_range(0..10) {
        0..3 => {
            let replicas = rng.random_range(0..=MOST_REPLICAS);
            let path = format!("{}/scale", apps("deployments", WEB));
            (format!("{replicas} of {WEB}"), client.patch(&path, json!({"spec": {"replicas": replicas}})).await)
        }
        3..5 => {
            let solo = if rng.random_bool(0.5) { SOLOS[0] } else { SOLOS[1] };
            let name = apps("deployments", solo);
            let version = rng.random_range(0..1_000_000_u32).to_string();
            let spec = json!({"spec": {"template": {"metadata": {"annotations": {"version": version}}}}});
            (format!("another template of {name}"), client.patch(&name, spec).await)
        }
        _ => {
            let pods = client.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods")).await;
            let items = pods.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            let name = items.get(rng.random_range(0..items.len().max(1))).and_then(|pod| pod.pointer("/metadata/name"));
            let Some(name) = name.and_then(Value::as_str) else { return ("nothing to delete".into(), pods) };
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}");
            (format!("{name} away"), client.delete(&path, Value::Null).await)
        }
    }
}

/// What there should be, and where it is made.
fn wanted() -> [(String, Value); 4] {
    let apps = |resource: &str| format!("/apis/apps/v1/namespaces/{NAMESPACE}/{resource}");
    let once = json!({"shoal.dev/at-most-one": "true"});
    let [solo, lone] = SOLOS.map(|name| deployment(name, 1, "Recreate", &once));
    [
        ("/api/v1/namespaces".into(), json!({"metadata": {"name": NAMESPACE}})),
        (apps("deployments"), deployment(WEB, 3, "RollingUpdate", &json!({}))),
        (apps("deployments"), solo),
        (apps("deployments"), lone),
    ]
}

fn deployment(name: &str, replicas: u32, strategy: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "strategy": {"type": strategy}, "selector": {"matchLabels": {"app": name}},
            "template": template(name, annotations),
        },
    })
}

fn template(name: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "c", "image": IMAGE, "args": ["sleep", "forever"]}],
        },
    })
}

fn apps(resource: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/{resource}/{name}")
}
