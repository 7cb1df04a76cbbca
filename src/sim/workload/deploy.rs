//! Users that deploy, scale, roll, break, mend and delete sets of pods.

use rand::Rng as _;
use serde_json::{Value, json};

use super::{NAMESPACE, User, pause};
use crate::world::entropy::Rng;

/// Deployments that users play with.
const NAMES: u32 = 4;
/// Most replicas of one.
const MOST_REPLICAS: u32 = 6;

/// Deploys until the node dies.
pub async fn deploy_for_ever(user: User, mut rng: Rng) {
    loop {
        pause(&mut rng, 4_000).await;
        let name = format!("d{}", rng.random_range(0..NAMES));
        let answer = match rng.random_range(0..10) {
            0..4 => user.client.post(&collection(), deployment(&name, &mut rng)).await,
            4..6 => {
                let replicas = rng.random_range(0..=MOST_REPLICAS);
                user.client.patch(&format!("{}/scale", path(&name)), json!({"spec": {"replicas": replicas}})).await
            }
            6..8 => user.client.patch(&path(&name), json!({"spec": {"template": template(&name, &mut rng)}})).await,
            8 => user.client.patch(&path(&name), json!({"spec": {"paused": rng.random_bool(0.3)}})).await,
            _ => {
                let policy = if rng.random_bool(0.5) { "Background" } else { "Foreground" };
                user.client.delete(&path(&name), json!({"propagationPolicy": policy})).await
            }
        };
        user.trace.note(format!("deploy {name}: {}", answer.code));
    }
}

/// Makes every deployment one that can become ready: the faults are over.
pub async fn mend(user: &User) {
    for nth in 0..NAMES {
        let name = format!("d{nth}");
        let container = json!([container("mended", json!([]))]);
        let spec = json!({"paused": false, "template": {"spec": {"containers": container}}});
        let answer = user.client.patch(&path(&name), json!({"spec": spec})).await;
        user.trace.note(format!("mend {name}: {}", answer.code));
    }
}

fn deployment(name: &str, rng: &mut Rng) -> Value {
    let strategy = if rng.random_bool(0.2) { "Recreate" } else { "RollingUpdate" };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": rng.random_range(0..=MOST_REPLICAS), "strategy": {"type": strategy},
            "selector": {"matchLabels": {"app": name}}, "template": template(name, rng),
        },
    })
}

/// A template that is new each time; one in four has containers that end, fail or take long.
fn template(name: &str, rng: &mut Rng) -> Value {
    let version = rng.random_range(0..1_000_000).to_string();
    let milliseconds = |rng: &mut Rng| rng.random_range(100..60_000).to_string();
    let env = match rng.random_range(0..12) {
        0 => {
            json!([{"name": "HOLLOW_EXIT_AFTER_MS", "value": milliseconds(rng)}, {"name": "HOLLOW_EXIT_CODE", "value": "1"}])
        }
        1 => json!([{"name": "HOLLOW_FAIL_START", "value": "planted"}]),
        2 => json!([{"name": "HOLLOW_START_MS", "value": milliseconds(rng)}]),
        _ => json!([]),
    };
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container(&version, env)]},
    })
}

fn container(version: &str, env: Value) -> Value {
    json!({"name": "c", "image": "sim.local/app:1", "args": ["sleep", "forever"], "env": env, "workingDir": format!("/{version}")})
}

fn collection() -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
}

fn path(name: &str) -> String {
    format!("{}/{name}", collection())
}
