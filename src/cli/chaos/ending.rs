//! When faults and load are over: waits for the cluster to heal and to converge, and reads everything from every node.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, all_ready};
use super::door::{Answer, STALE_MISS, written};
use super::history::{Converged, Kind, Micros, Request};
use super::load::rollout::{self, TURN};
use super::load::watcher::listed;
use super::load::writer::config_map;
use super::load::{PAUSE, Shared, path, selected};
use super::scenario::Scenario;
use crate::cli::client::JSON;
use crate::cli::client::resources::text;

/// How often is looked.
const POLL: Duration = Duration::from_millis(100);
/// The client that writes last.
const LAST_CLIENT: u16 = 2000;
/// Its object.
const LAST_KEY: &str = "last";

/// Waits until every node's API shows every node Ready.
pub async fn heal(shared: &Shared, cluster: &mut Cluster, patience: Duration) {
    let began = Instant::now();
    let outcome = loop {
        cluster.deaths().into_iter().for_each(|death| shared.recorder.death(death));
        match all_ready(&shared.doors).await {
            Ok(()) => break Ok(micros(began)),
            Err(why) if began.elapsed() > patience => break Err(why),
            Err(_) => sleep(POLL).await,
        }
    };
    shared.recorder.note(|history| history.ending.healed = Some(outcome));
}

fn micros(since: Instant) -> Micros {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(Micros::MAX)
}

/// Waits until every deployment has what its template says, on running pods.
pub async fn converge(shared: &Shared, patience: Duration) {
    let began = Instant::now();
    for nth in 0..shared.load.deployments {
        let mut last = Value::Null;
        let outcome = loop {
            match read(shared, nth).await {
                Ok(object) => last = object,
                Err(why) if began.elapsed() > patience => break Err(why),
                Err(_) => {}
            }
            match missing(&last) {
                None => break Ok(micros(began)),
                Some(lacks) if began.elapsed() > patience => break Err(lacks),
                Some(_) => sleep(POLL).await,
            }
        };
        let annotations = last.pointer("/spec/template/metadata/annotations");
        let value = annotations.and_then(|all| all.get(TURN)).and_then(Value::as_str).unwrap_or_default().to_owned();
        shared.recorder.converged(Converged { key: rollout::key(nth), value, outcome });
    }
}

async fn read(shared: &Shared, nth: u16) -> Result<Value, String> {
    let mut last = String::new();
    for door in &shared.doors {
        match door.get(&rollout::path(Some(&rollout::name(nth)))).await {
            Ok(object) => return Ok(object),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// What a deployment lacks.
fn missing(object: &Value) -> Option<String> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64);
    let Some(wanted) = wanted else { return Some("it cannot be read".into()) };
    let [all, updated, available] =
        ["replicas", "updatedReplicas", "availableReplicas"].map(|field| number(&format!("/status/{field}")));
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let there = seen && [all, updated, available] == [wanted; 3];
    (!there).then(|| {
        let seen = if seen { "" } else { ", and its last change is not seen" };
        format!("of {wanted} replicas {all} are there, {updated} up to date, {available} available{seen}")
    })
}

/// One more write, which every watcher has to see; its revision.
pub async fn write_last(shared: &Shared, patience: Duration) -> Option<u64> {
    let started = Instant::now();
    for (attempt, node) in (1u16..).zip((0..shared.doors.len()).cycle()) {
        let door = shared.doors.get(node)?;
        let value = format!("last-{attempt}");
        // Made once: after an answer that leaves it open, under another name.
        let key = format!("{LAST_KEY}-{attempt}");
        let began = shared.recorder.now();
        let answer = door.ask(Method::POST, &path(None), Some((JSON, &config_map(&key, &value, "", None)))).await;
        let outcome = written(&answer);
        let request = Request {
            client: LAST_CLIENT,
            node,
            kind: Kind::Create,
            key,
            value: Some(value),
            base: None,
            attempt,
            began,
            ended: shared.recorder.now(),
            outcome,
        };
        let revision = request.revision();
        shared.recorder.request(request);
        if revision.is_some() || started.elapsed() > patience {
            shared.recorder.note(|history| history.ending.last_revision = revision);
            return revision;
        }
        sleep(PAUSE).await;
    }
    None
}

/// What every node lists, as of now.
pub async fn list(shared: &Shared) {
    for (nth, door) in shared.doors.iter().enumerate() {
        let listing = match door.ask(Method::GET, &selected(), None).await {
            Answer::Done { stale: true, .. } => Err("it calls what it lists stale".to_owned()),
            Answer::Done { body, .. } if text(&body, "/kind").ends_with("List") => Ok(listed(&body)),
            Answer::Done { body, .. } => Err(format!("it lists a {}", text(&body, "/kind"))),
            Answer::StaleMiss => Err(STALE_MISS.to_owned()),
            Answer::Refused(code, why) | Answer::Unknown(code, why) => Err(format!("{code} {why}")),
        };
        shared.recorder.note(|history| history.ending.listings.push((Scenario::node_name(nth), listing)));
    }
}
