//! Users that each own some config maps: what they were told about every write is what the invariants judge.

use rand::Rng as _;
use serde_json::{Value, json};

use super::{NAMESPACE, User, pause};
use crate::sim::client::Answer;
use crate::sim::history::{Outcome, Read, Write};
use crate::world::entropy::Rng;

/// Keys of one user.
const KEYS: u32 = 4;

/// Writes until the node dies.
pub async fn write_for_ever(user: User, nth: u32, mut rng: Rng) {
    loop {
        pause(&mut rng, 400).await;
        let name = format!("w{nth}-{}", rng.random_range(0..KEYS));
        write_once(&user, &name, &mut rng).await;
    }
}

async fn write_once(user: &User, name: &str, rng: &mut Rng) {
    let key = key(name);
    let count = user.history.lock().writes.get(&key).map_or(0, Vec::len);
    let value = (rng.random_range(0..4) != 0).then(|| format!("{name}#{count}"));
    note(user, &key, count, Write { value: value.clone(), outcome: Outcome::Unknown });
    let answer = ask(user, name, value.as_deref(), rng).await;
    let outcome = judge(&answer, value.is_some());
    user.trace.note(format!("client {key} <- {value:?}: {} {outcome:?}", answer.code));
    note(user, &key, count, Write { value, outcome });
}

async fn ask(user: &User, name: &str, value: Option<&str>, rng: &mut Rng) -> Answer {
    let Some(value) = value else { return user.client.delete(&path(name), Value::Null).await };
    let body = config_map(name, value);
    let patched = rng.random_bool(0.3);
    let answer = if patched {
        user.client.patch(&path(name), json!({"data": {"v": value}})).await
    } else {
        user.client.put(&path(name), body.clone()).await
    };
    if answer.code == 404 { user.client.post(&collection(), body).await } else { answer }
}

/// A deletion's answer has no revision of its own to check; an acknowledged write's has.
fn judge(answer: &Answer, put: bool) -> Outcome {
    match (answer.done(), answer.refused()) {
        (true, _) if put => answer.revision().map_or(Outcome::Unknown, Outcome::Acknowledged),
        (true, _) => Outcome::Acknowledged(0),
        (false, true) if answer.code == 404 && !put => Outcome::Acknowledged(0),
        (false, true) => Outcome::Refused,
        (false, false) => Outcome::Unknown,
    }
}

fn note(user: &User, key: &str, at: usize, write: Write) {
    let mut history = user.history.lock();
    let writes = history.writes.entry(key.to_owned()).or_default();
    match writes.get_mut(at) {
        Some(known) => *known = write,
        None => writes.push(write),
    }
}

/// Reads every key back: after a restart, before anybody writes again, and at the end.
pub async fn read_back(user: &User) {
    let asked: Vec<(String, usize)> =
        user.history.lock().writes.iter().map(|(key, writes)| (key.clone(), writes.len())).collect();
    for (key, after_writes) in asked {
        let name = key.rsplit('/').next().unwrap_or_default();
        let answer = user.client.get(&path(name)).await;
        let value = answer.body.pointer("/data/v").and_then(Value::as_str).filter(|_| answer.done()).map(str::to_owned);
        let revision = answer.revision().filter(|_| answer.done());
        user.trace.note(format!("read {key} = {value:?} at {revision:?}"));
        user.history.lock().reads.push(Read { key, after_writes, value, revision });
    }
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}})
}

fn collection() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

fn path(name: &str) -> String {
    format!("{}/{name}", collection())
}

fn key(name: &str) -> String {
    format!("configmaps/{NAMESPACE}/{name}")
}
