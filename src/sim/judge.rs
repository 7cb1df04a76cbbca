//! How things stand at the end, read through the API and from the machine, as the invariants want it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::Client;
use super::history::{End, Replicas};
use super::home::Home;

/// Resources that are listed, with their paths.
const LISTED: &[(&str, &str)] = &[
    ("configmaps", "/api/v1/configmaps"),
    ("deployments", "/apis/apps/v1/deployments"),
    ("endpoints", "/api/v1/endpoints"),
    ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("pods", "/api/v1/pods"),
    ("replicasets", "/apis/apps/v1/replicasets"),
    ("replicationcontrollers", "/api/v1/replicationcontrollers"),
    ("services", "/api/v1/services"),
];

/// Reads everything.
pub async fn end(client: &Client, cluster: &Home) -> Result<End, String> {
    let mut all = Vec::new();
    for (resource, path) in LISTED {
        let answer = client.get(path).await;
        let items = answer.body.get("items").and_then(Value::as_array).filter(|_| answer.done());
        let items = items.ok_or_else(|| format!("{path} answers {}", answer.code))?;
        all.extend(items.iter().map(|item| (*resource, item.clone())));
    }
    let mut end = End::default();
    let uids: BTreeSet<String> = all.iter().map(|(_, object)| text(object, "/metadata/uid")).collect();
    for (resource, object) in &all {
        let key = format!("{resource}/{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        end.objects.insert(key.clone(), text(object, "/metadata/resourceVersion").parse().unwrap_or(0));
        for owner in owners(object).filter(|owner| !uids.contains(owner)) {
            end.orphans.push((key.clone(), owner));
        }
        if *resource == "pods" {
            end.pods.insert(text(object, "/metadata/uid"));
        }
        if resource.starts_with("replica") {
            end.replicas.push(replicas(key, object, &all));
        }
    }
    end.containers = cluster.running_containers();
    Ok(end)
}

/// Pods that a set wants and has, of `all` objects with their resources.
pub fn replicas<R: AsRef<str>>(key: String, set: &Value, all: &[(R, Value)]) -> Replicas {
    let uid = text(set, "/metadata/uid");
    let owned = |object: &&Value| owners(object).any(|owner| owner == uid);
    let pods: Vec<&Value> =
        all.iter().filter(|(kind, _)| kind.as_ref() == "pods").map(|(_, pod)| pod).filter(owned).collect();
    let live = |pod: &&&Value| pod.pointer("/metadata/deletionTimestamp").is_none() && is_ready(pod);
    Replicas {
        key,
        wanted: set.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0),
        ready: pods.iter().filter(live).count() as i64,
        pods: pods.len() as i64,
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True")
}

fn owners(object: &Value) -> impl Iterator<Item = String> {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    references.into_iter().flatten().map(|owner| text(owner, "/uid"))
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
