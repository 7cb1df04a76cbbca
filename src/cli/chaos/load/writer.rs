//! A client with ConfigMaps of its own. It makes, replaces, deletes and reads them through one node after another, always
//! at the revision that it knows; after an answer that leaves open what happened it reads before it goes on.

use std::sync::Arc;

use http::Method;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{LABEL, NAMESPACE, PAUSE, Shared, path};
use crate::cli::chaos::door::{self, Answer, written};
use crate::cli::chaos::history::{Kind, Outcome, Request};
use crate::cli::client::JSON;
use crate::cli::client::resources::text;
use crate::world::entropy::Rng;

/// Requests for one thing, before a client turns to another.
const ATTEMPTS: u16 = 200;
/// Requests through a node, before a client goes to the next one for no reason.
const STAYS: u64 = 40;

/// What a client knows of a ConfigMap of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Absent,
    There { revision: u64, value: String },
    Open,
}

/// A client.
pub struct Writer {
    shared: Arc<Shared>,
    client: u16,
    rng: Rng,
    stopped: watch::Receiver<bool>,
    known: Vec<Known>,
    node: usize,
    sent: u64,
}

impl Writer {
    /// A client that has written nothing yet.
    pub fn new(shared: Arc<Shared>, client: u16, rng: Rng, stopped: watch::Receiver<bool>) -> Self {
        let known = vec![Known::Absent; usize::from(shared.load.keys)];
        Self { node: usize::from(client) % shared.doors.len().max(1), shared, client, rng, stopped, known, sent: 0 }
    }

    /// Works until it is told to stop.
    pub async fn run(mut self) {
        let mut ticks = interval(self.shared.load.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.stopped.borrow() && !self.shared.recorder.is_full() {
            ticks.tick().await;
            let nth = self.rng.random_range(0..self.known.len());
            self.turn(nth).await;
        }
    }

    /// One thing, until it is done or refused for good.
    async fn turn(&mut self, nth: usize) {
        let mut kind = self.choose(nth);
        for attempt in 1..=ATTEMPTS {
            match self.ask(nth, kind, attempt).await {
                Outcome::Done { .. } => return,
                // Nothing happened: the same once more. Else only a read can tell.
                Outcome::Refused { code: 0 | 429, .. } => {}
                Outcome::Refused { .. } | Outcome::Unknown { .. } => kind = Kind::Read,
            }
            self.next_node();
            if *self.stopped.borrow() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    fn choose(&mut self, nth: usize) -> Kind {
        let (reads, deletes) = (self.shared.load.reads, self.shared.load.deletes);
        let mut of_a_hundred = |count: u8| self.rng.random_range(0..100) < count;
        match self.known.get(nth) {
            Some(Known::Open) | None => Kind::Read,
            _ if of_a_hundred(reads) => Kind::Read,
            Some(Known::Absent) => Kind::Create,
            Some(Known::There { .. }) if of_a_hundred(deletes) => Kind::Delete,
            Some(Known::There { .. }) => Kind::Update,
        }
    }

    fn next_node(&mut self) {
        self.node = (self.node + 1) % self.shared.doors.len().max(1);
    }

    async fn ask(&mut self, nth: usize, kind: Kind, attempt: u16) -> Outcome {
        self.sent += 1;
        if self.sent.is_multiple_of(STAYS) {
            self.next_node();
        }
        let key = format!("c{}-k{nth}", self.client);
        let known = self.known.get(nth).cloned().unwrap_or(Known::Open);
        let (base, old) = match known {
            Known::There { revision, value } => (Some(revision), Some(value)),
            Known::Absent | Known::Open => (None, None),
        };
        let new = || Some(format!("c{}-{}", self.client, self.sent));
        let (value, base) = match kind {
            Kind::Create => (new(), None),
            Kind::Update => (new(), base),
            Kind::Delete => (old, base),
            Kind::Read | Kind::Rollout => (None, None),
        };
        let began = self.shared.recorder.now();
        let answer = self.send(kind, &key, value.as_deref(), base).await;
        let outcome = if kind == Kind::Read { found(&answer) } else { written(&answer) };
        self.learn(nth, kind, value.as_deref(), &outcome);
        let (client, node, ended) = (self.client, self.node, self.shared.recorder.now());
        let told = outcome.clone();
        self.shared.recorder.request(Request { client, node, kind, key, value, base, attempt, began, ended, outcome });
        told
    }

    async fn send(&self, kind: Kind, key: &str, value: Option<&str>, base: Option<u64>) -> Answer {
        let Some(door) = self.shared.doors.get(self.node) else { return Answer::Refused(0, "no node".into()) };
        let value = value.unwrap_or_default();
        let pad = "x".repeat(usize::try_from(self.shared.load.value_bytes).unwrap_or(0));
        let object = || config_map(key, value, &pad, base);
        match kind {
            Kind::Create => door.ask(Method::POST, &path(None), Some((JSON, &object()))).await,
            Kind::Update => door.ask(Method::PUT, &path(Some(key)), Some((JSON, &object()))).await,
            Kind::Delete => {
                let base = base.unwrap_or_default().to_string();
                let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions",
                    "preconditions": { "resourceVersion": base } });
                door.ask(Method::DELETE, &path(Some(key)), Some((JSON, &options))).await
            }
            Kind::Read | Kind::Rollout => door.ask(Method::GET, &path(Some(key)), None).await,
        }
    }

    /// What is known now.
    fn learn(&mut self, nth: usize, kind: Kind, sent: Option<&str>, outcome: &Outcome) {
        let Some(known) = self.known.get_mut(nth) else { return };
        let there = |revision: Option<u64>, value: Option<&str>| match (revision, value) {
            (Some(revision), Some(value)) => Known::There { revision, value: value.into() },
            _ => Known::Absent,
        };
        match outcome {
            // What is called stale teaches nothing.
            Outcome::Done { stale: true, .. } | Outcome::Refused { code: 0 | 429, .. } => {}
            Outcome::Done { .. } if kind == Kind::Delete => *known = Known::Absent,
            Outcome::Done { revision, value, .. } if kind == Kind::Read => *known = there(*revision, value.as_deref()),
            Outcome::Done { revision, .. } => *known = there(*revision, sent),
            Outcome::Unknown { .. } if kind == Kind::Read => {}
            Outcome::Refused { .. } | Outcome::Unknown { .. } => *known = Known::Open,
        }
    }
}

/// A ConfigMap as clients write it.
pub fn config_map(name: &str, value: &str, pad: &str, base: Option<u64>) -> Value {
    let mut metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": { LABEL: "1" } });
    if let (Some(base), Some(metadata)) = (base, metadata.as_object_mut()) {
        metadata.insert("resourceVersion".into(), base.to_string().into());
    }
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "value": value, "pad": pad } })
}

/// The outcome of a read, by its answer.
fn found(answer: &Answer) -> Outcome {
    match answer {
        Answer::Done { body, stale } => {
            Outcome::Done { revision: door::revision(body), value: Some(text(body, "/data/value")), stale: *stale }
        }
        Answer::StaleMiss => Outcome::Done { revision: None, value: None, stale: true },
        Answer::Refused(404, _) => Outcome::Done { revision: None, value: None, stale: false },
        other => written(other),
    }
}
