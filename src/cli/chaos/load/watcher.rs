//! A client that lists what writers write and follows every change of it, through another node where one does not answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::{PAUSE, Shared, selected};
use crate::cli::chaos::door::{Door, revision};
use crate::cli::chaos::history::{Item, Sight};
use crate::cli::client::resources::{items, text};
use crate::cli::client::{JSON, request};

/// After so long without a change a watcher goes to another node: there is load all the time.
const IDLE: Duration = Duration::from_secs(5);
/// HTTP: the revision to go on from is no longer kept.
const GONE: u64 = 410;

/// Why a watch ended.
enum End {
    /// Another node may go on.
    Lost,
    /// The revision is gone: only a new list helps.
    Gone,
}

/// A watcher.
pub struct Watcher {
    shared: Arc<Shared>,
    nth: u16,
    goal: watch::Receiver<Option<u64>>,
    node: usize,
    seen: Option<u64>,
}

impl Watcher {
    /// A watcher that has seen nothing yet.
    pub fn new(shared: Arc<Shared>, nth: u16, goal: watch::Receiver<Option<u64>>) -> Self {
        let node = usize::from(nth) % shared.doors.len().max(1);
        Self { shared, nth, goal, node, seen: None }
    }

    /// Follows until it has seen the goal.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        while !self.is_done() && !shared.recorder.is_full() {
            let Some(door) = shared.doors.get(self.node) else { return };
            match self.seen {
                None => self.list(door).await,
                Some(from) => match self.follow(door, from).await {
                    End::Gone => self.seen = None,
                    End::Lost if self.is_done() => return,
                    End::Lost => self.next_node(),
                },
            }
            sleep(PAUSE).await;
        }
    }

    fn is_done(&self) -> bool {
        let goal = *self.goal.borrow();
        goal.is_some() && self.seen >= goal
    }

    fn next_node(&mut self) {
        self.node = (self.node + 1) % self.shared.doors.len().max(1);
        self.shared.recorder.watched(self.nth, Sight::Resumed { node: self.node });
    }

    async fn list(&mut self, door: &Door) {
        match door.get(&selected()).await.map(|list| (revision(&list), listed(&list))) {
            Ok((Some(revision), items)) => {
                self.seen = Some(revision);
                self.shared.recorder.watched(self.nth, Sight::Listed { revision, items });
            }
            _ => self.next_node(),
        }
    }

    async fn follow(&mut self, door: &Door, from: u64) -> End {
        let path = format!("{}&watch=true&resourceVersion={from}", selected());
        let Ok(request) = request(Method::GET, &path, JSON, None) else { return End::Lost };
        let stream = match timeout(IDLE, door.session().client.request_stream(request)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(kube::Error::Api(status))) if u64::from(status.code) == GONE => return End::Gone,
            _ => return End::Lost,
        };
        let mut lines = Box::pin(stream.compat()).lines();
        let mut goal = self.goal.clone();
        while !self.is_done() {
            let line = tokio::select! {
                line = timeout(IDLE, lines.next_line()) => line,
                _ = goal.changed() => continue,
            };
            let Ok(Ok(Some(line))) = line else { return End::Lost };
            let Ok(event) = serde_json::from_str::<Value>(&line) else { return End::Lost };
            if let Some(end) = self.event(&event) {
                return end;
            }
        }
        End::Lost
    }

    fn event(&mut self, event: &Value) -> Option<End> {
        let object = event.get("object").unwrap_or(&Value::Null);
        let deleted = match text(event, "/type").as_str() {
            "ADDED" | "MODIFIED" => false,
            "DELETED" => true,
            "BOOKMARK" => return None,
            _ if object.get("code").and_then(Value::as_u64) == Some(GONE) => return Some(End::Gone),
            _ => return Some(End::Lost),
        };
        let revision = revision(object)?;
        self.seen = self.seen.max(Some(revision));
        let (key, value) = (text(object, "/metadata/name"), text(object, "/data/value"));
        self.shared.recorder.watched(self.nth, Sight::Change { revision, deleted, key, value });
        None
    }
}

/// What a list shows.
pub fn listed(list: &Value) -> BTreeMap<String, Item> {
    let item = |object: &Value| {
        let item = Item { revision: revision(object)?, value: text(object, "/data/value") };
        Some((text(object, "/metadata/name"), item))
    };
    items(list, "items").iter().filter_map(item).collect()
}
