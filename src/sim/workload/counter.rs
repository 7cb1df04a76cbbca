//! Users that count together in one object, each increment conditional on the version read: none may be lost.

use serde_json::{Value, json};

use super::{NAMESPACE, User, pause};
use crate::sim::client::Answer;
use crate::sim::history::Outcome;
use crate::world::entropy::Rng;

const NAME: &str = "counter";

/// Counts until the node dies.
pub async fn count_for_ever(user: User, mut rng: Rng) {
    loop {
        pause(&mut rng, 300).await;
        let read = user.client.get(&path()).await;
        // Between reading and writing the other counters write, too.
        pause(&mut rng, 20).await;
        let asked = ask(&user, &read);
        let Some(asked) = asked else { continue };
        let nth = {
            let mut history = user.history.lock();
            history.increments.push(Outcome::Unknown);
            history.increments.len() - 1
        };
        let answer = asked.await;
        let outcome = match (answer.done(), answer.refused()) {
            (true, _) => Outcome::Acknowledged(answer.revision().unwrap_or(0)),
            (_, true) => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        user.trace.note(format!("count {nth}: {} {outcome:?}", answer.code));
        if let Some(known) = user.history.lock().increments.get_mut(nth) {
            *known = outcome;
        }
    }
}

/// The value at the end.
pub async fn read(user: &User) -> Option<u64> {
    let answer = user.client.get(&path()).await;
    value(&answer)
}

fn ask(user: &User, read: &Answer) -> Option<impl Future<Output = Answer>> {
    let client = user.client.clone();
    let metadata = match (read.code, read.revision()) {
        (404, _) => json!({"name": NAME}),
        (200, Some(revision)) => json!({"name": NAME, "resourceVersion": revision.to_string()}),
        _ => return None,
    };
    let create = read.code == 404;
    let next = value(read).unwrap_or(0) + 1;
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"n": next.to_string()}});
    Some(async move { if create { client.post(&collection(), body).await } else { client.put(&path(), body).await } })
}

fn value(answer: &Answer) -> Option<u64> {
    answer.body.pointer("/data/n").and_then(Value::as_str)?.parse().ok()
}

fn collection() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

fn path() -> String {
    format!("{}/{NAME}", collection())
}
