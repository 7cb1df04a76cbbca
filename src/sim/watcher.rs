//! Users that follow a resource with list and watch, and resume after each cut from the last revision they saw.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use rand::Rng as _;
use serde_json::Value;

use super::history::{Event, Followed};
use super::workload::User;
use crate::model::Revision;
use crate::world::entropy::Rng;

/// Longest that a watch is asked for.
const LONGEST_SECONDS: u64 = 10;

/// Follows the watch with this index in the history until the node dies.
pub async fn follow(user: User, index: usize, path: &'static str, mut rng: Rng, compacts: bool) {
    loop {
        if let Some(from) = position(&user, index) {
            if compacts && rng.random_bool(0.5) {
                // The edge of what is retained is where a watch can go wrong: stand right on it.
                let compacted = user.store.compact(Revision(from)).await;
                user.trace.note(format!("watch {index} has history compacted at {from}: {compacted:?}"));
            }
            stream(&user, index, path, from, rng.random_range(1..=LONGEST_SECONDS)).await;
            // A stream that ends at once must not be asked for again in the same instant, for ever.
            tokio::time::sleep(Duration::from_millis(10)).await;
        } else if !list(&user, index, path).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The revision to resume from; `None` where a list is needed.
fn position(user: &User, index: usize) -> Option<u64> {
    with(user, index, |watch| if watch.expired { None } else { watch.position }).flatten()
}

async fn list(user: &User, index: usize, path: &str) -> bool {
    let answer = user.client.get(path).await;
    let (true, Some(revision)) = (answer.done(), answer.revision()) else { return false };
    let items = answer.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    user.trace.note(format!("watch {index} lists {} objects at {revision}", items.len()));
    with(user, index, |watch| {
        let held: BTreeMap<_, _> =
            items.iter().filter_map(|item| Some((key(&watch.resource, item)?, revision_of(item)?))).collect();
        watch.lists.push((revision, held));
        watch.position = Some(revision);
        watch.expired = false;
    });
    true
}

async fn stream(user: &User, index: usize, path: &str, from: u64, seconds: u64) {
    let query = format!("{path}?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={from}");
    match user.client.0.lines(query).await {
        Ok(mut lines) => {
            while let Some(line) = lines.next().await {
                if !take(user, index, &line) {
                    return;
                }
            }
        }
        Err(answer) => {
            user.trace.note(format!("watch {index} from {from}: {}", answer.code));
            if answer.code == 410 {
                with(user, index, |watch| watch.expired = true);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Notes one line of a watch; false where the watch is over.
fn take(user: &User, index: usize, line: &Bytes) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return true };
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let object = event.get("object").cloned().unwrap_or_default();
    if kind == "ERROR" {
        user.trace.note(format!("watch {index} ends: {}", object.get("message").unwrap_or_default()));
        with(user, index, |watch| watch.expired = true);
        return false;
    }
    with(user, index, |watch| {
        let Some(revision) = revision_of(&object) else { return };
        watch.position = Some(revision);
        if let (false, Some(key)) = (kind == "BOOKMARK", key(&watch.resource, &object)) {
            let digest = u64::from(crc32fast::hash(object.to_string().as_bytes()));
            let list = watch.lists.len().saturating_sub(1);
            watch.events.push(Event { list, kind, key, revision, digest });
        }
    });
    true
}

fn with<T>(user: &User, index: usize, act: impl FnOnce(&mut Followed) -> T) -> Option<T> {
    user.history.lock().watches.get_mut(index).map(act)
}

fn key(resource: &str, object: &Value) -> Option<String> {
    let metadata = object.get("metadata")?;
    let part = |name: &str| metadata.get(name).and_then(Value::as_str);
    Some(format!("{resource}/{}/{}", part("namespace").unwrap_or_default(), part("name")?))
}

fn revision_of(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}
