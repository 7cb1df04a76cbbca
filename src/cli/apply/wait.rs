//! Waits until what was applied is ready, and says what it waits for.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;

use super::Applied;
use crate::cli::client::Session;
use crate::cli::client::resources::{items, text};
use crate::cli::failure::Failure;

/// How often is looked.
const POLL: Duration = Duration::from_millis(100);

/// Waits for every object.
pub async fn until_ready(session: &Session, applied: &[Applied], patience: Duration) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + patience;
    for object in applied {
        let mut shown = String::new();
        loop {
            let live = session.find(&object.path).await?.unwrap_or(Value::Null);
            let Some(missing) = missing(&live) else {
                clear(&shown);
                break;
            };
            if missing != shown {
                show(&object.resource.qualified(&object.name), &missing);
                shown = missing;
            }
            if tokio::time::Instant::now() > deadline {
                clear(&shown);
                let name = object.resource.qualified(&object.name);
                let why = reasons(session, &live).await.unwrap_or_default();
                return Err(Failure::new(format!("{name} is not ready after {} s: {shown}{why}", patience.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// What an object lacks; `None` where it is ready.
fn missing(object: &Value) -> Option<String> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    match text(object, "/kind").as_str() {
        "Deployment" => {
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            let seen = number("/status/observedGeneration") >= number("/metadata/generation");
            let ready = number("/status/availableReplicas").min(number("/status/updatedReplicas"));
            let old = number("/status/replicas") > number("/status/updatedReplicas");
            (!seen || ready < wanted || old).then(|| format!("{ready} of {wanted} replicas are available"))
        }
        "ReplicaSet" | "ReplicationController" => {
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            let ready = number("/status/readyReplicas");
            (ready < wanted).then(|| format!("{ready} of {wanted} replicas are ready"))
        }
        "Pod" => {
            let phase = text(object, "/status/phase");
            let ready = items(object.get("status").unwrap_or(&Value::Null), "conditions")
                .iter()
                .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True");
            (!ready && phase != "Succeeded").then(|| format!("it is {phase}"))
        }
        "" => Some("it is gone".into()),
        _ => None,
    }
}

/// Why the object's pods do not run, as their containers say.
async fn reasons(session: &Session, object: &Value) -> Option<String> {
    let labels = object.pointer("/spec/selector/matchLabels").or_else(|| object.pointer("/metadata/labels"))?;
    let selector: Vec<String> =
        labels.as_object()?.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let namespace = text(object, "/metadata/namespace");
    let selector = crate::cli::client::escape(&selector.join(","));
    let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
    let pods = session.find(&path).await.ok()??;
    let mut out = String::new();
    for pod in items(&pods, "items") {
        for status in items(pod.get("status")?, "containerStatuses") {
            let waiting = status.pointer("/state/waiting").or_else(|| status.pointer("/lastState/terminated"));
            let Some(waiting) = waiting else { continue };
            let (reason, message) = (text(waiting, "/reason"), text(waiting, "/message"));
            out.push_str(&format!("\n  pod {}: {reason} {message}", text(pod, "/metadata/name")));
        }
    }
    Some(out)
}

fn show(name: &str, missing: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[Kwaiting for {name}: {missing}");
        let _ = std::io::stderr().flush();
    } else {
        eprintln!("waiting for {name}: {missing}");
    }
}

fn clear(shown: &str) {
    if !shown.is_empty() && std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
