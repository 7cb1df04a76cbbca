//! A deployment whose pod template changes again and again.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{NAMESPACE, PAUSE, Shared};
use crate::cli::chaos::door::{Answer, written};
use crate::cli::chaos::history::{Kind, Outcome, Request};
use crate::cli::client::JSON;

/// Requests for one rollout.
const ATTEMPTS: u16 = 200;
/// Clients of rollouts are numbered from here.
const FIRST_CLIENT: u16 = 1000;
/// The annotation of the pod template that a rollout changes.
pub const TURN: &str = "shoal-chaos/turn";

/// Rolls a deployment.
pub struct Rollout {
    shared: Arc<Shared>,
    nth: u16,
    stopped: watch::Receiver<bool>,
    node: usize,
    sent: u64,
    made: bool,
}

impl Rollout {
    /// The deployment of this number, which is not there yet.
    pub fn new(shared: Arc<Shared>, nth: u16, stopped: watch::Receiver<bool>) -> Self {
        let node = usize::from(nth) % shared.doors.len().max(1);
        Self { shared, nth, stopped, node, sent: 0, made: false }
    }

    /// Works until it is told to stop.
    pub async fn run(mut self) {
        let mut ticks = interval(self.shared.load.rollout_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.stopped.borrow() && !self.shared.recorder.is_full() {
            tokio::select! {
                _ = ticks.tick() => self.turn().await,
                _ = self.stopped.changed() => {}
            }
        }
    }

    async fn turn(&mut self) {
        for attempt in 1..=ATTEMPTS {
            match self.ask(attempt).await {
                Outcome::Done { .. } => {
                    self.made = true;
                    return;
                }
                // It was made by a request that nobody answered.
                Outcome::Refused { code: 409, .. } => self.made = true,
                Outcome::Refused { .. } | Outcome::Unknown { .. } => {}
            }
            self.node = (self.node + 1) % self.shared.doors.len().max(1);
            if *self.stopped.borrow() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask(&mut self, attempt: u16) -> Outcome {
        let Some(door) = self.shared.doors.get(self.node) else { return written(&Answer::Refused(0, "no node".into())) };
        self.sent += 1;
        let value = format!("d{}-{}", self.nth, self.sent);
        let name = name(self.nth);
        let began = self.shared.recorder.now();
        let answer = if self.made {
            let patch = json!({ "spec": { "template": { "metadata": { "annotations": { TURN: value } } } } });
            let kind = "application/merge-patch+json";
            door.ask(Method::PATCH, &path(Some(&name)), Some((kind, &patch))).await
        } else {
            let object = deployment(&name, self.shared.load.replicas, &value);
            door.ask(Method::POST, &path(None), Some((JSON, &object))).await
        };
        let outcome = written(&answer);
        self.shared.recorder.request(Request {
            client: FIRST_CLIENT + self.nth,
            node: self.node,
            kind: Kind::Rollout,
            key: key(self.nth),
            value: Some(value),
            base: None,
            attempt,
            began,
            ended: self.shared.recorder.now(),
            outcome: outcome.clone(),
        });
        outcome
    }
}

/// Name of a deployment.
pub fn name(nth: u16) -> String {
    format!("d{nth}")
}

/// A deployment, as the history names it.
pub fn key(nth: u16) -> String {
    format!("deployment/{}", name(nth))
}

/// Path of deployments, or of one of them.
pub fn path(name: Option<&str>) -> String {
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments{name}")
}

fn deployment(name: &str, replicas: u16, turn: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name }, "annotations": { TURN: turn } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "web", "image": "shoal.local/toolbox:latest", "imagePullPolicy": "IfNotPresent",
                        "args": ["http-echo", "--port", "8080", "--text", "here"],
                    }],
                },
            },
        },
    })
}
