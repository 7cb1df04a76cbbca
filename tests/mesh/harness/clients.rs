//! Clients of a whole cluster: they read and swap a few objects that all of them share, each time through another node,
//! and one watches what they do. They go on through whatever happens until they are told to stop.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use shoal::sim::cluster::linear::{Effect, Operation};
use tokio::io::AsyncBufReadExt;
use tokio::time::{sleep, timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::history::{At, Change, History, Written};
use super::process::pin;
use super::{Machine, PATIENCE, wait_until};

/// Clients, and objects that they share.
const CLIENTS: usize = 4;
const KEYS: usize = 6;
/// Between two requests of a client.
const EVERY: Duration = Duration::from_millis(40);
/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The watch goes on at another node after so many changes, and after so long without one.
const CHANGES_A_NODE: usize = 15;
const IDLE: Duration = Duration::from_secs(2);
const PATH: &str = "/api/v1/namespaces/default/configmaps";
const SELECTED: &str = "labelSelector=of%3Dclients";

type Shared = Arc<Work>;

/// Clients that run.
pub struct Clients {
    work: Shared,
    thread: Option<JoinHandle<()>>,
}

struct Work {
    kubeconfig: String,
    addresses: Vec<String>,
    began: Instant,
    over: AtomicBool,
    watched: AtomicBool,
    acknowledged: AtomicU64,
    history: parking_lot::Mutex<History>,
}

impl Clients {
    /// Starts them, in the network of the first machine; it need not run all the time.
    pub fn start(machines: &[&Machine]) -> Self {
        let work = Arc::new(Work {
            kubeconfig: std::fs::read_to_string(&machines[0].kubeconfig).expect("a kubeconfig"),
            addresses: machines.iter().map(|machine| machine.at()).collect(),
            began: Instant::now(),
            over: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            history: parking_lot::Mutex::default(),
        });
        let network = File::open(pin(&machines[0].namespace())).expect("the namespace is there");
        let shared = work.clone();
        let run = move || {
            setns(&network, CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(shared.run());
        };
        let clients = Self { work, thread: Some(std::thread::spawn(run)) };
        clients.wait_progress();
        clients
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.work.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until some more writes are acknowledged than were at this moment.
    pub fn wait_progress(&self) {
        let wanted = self.acknowledged() + 2 * CLIENTS as u64;
        wait_until("clients' writes go on", PATIENCE, || {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the clients ended early");
            if self.acknowledged() > wanted { Ok(()) } else { Err(format!("{} were", self.acknowledged())) }
        });
    }

    /// Stops them, lets every node be read once more, and judges what they were told.
    pub fn judge(mut self) -> History {
        self.work.over.store(true, Ordering::SeqCst);
        self.thread.take().expect("they run").join().expect("the clients end well");
        let history = std::mem::take(&mut *self.work.history.lock());
        let breaches = history.breaches();
        assert!(breaches.is_empty(), "{} breaches, e.g. {:#?}", breaches.len(), &breaches[..breaches.len().min(5)]);
        let operations: usize = history.operations.values().map(Vec::len).sum();
        println!(
            "{operations} operations, {} acknowledged writes, {} changes watched at {} nodes in turn: no breach",
            history.written.len(),
            history.changes.len(),
            history.resumed + 1
        );
        assert!(history.resumed > 0, "the watch went on elsewhere");
        history
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.work.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What became of a request.
enum Answer {
    Done {
        body: Value,
        /// Whether the server itself says that it is old.
        stale: bool,
    },
    /// The object has another revision.
    Conflict,
    /// Nothing happened.
    Nothing,
    /// Nobody knows.
    Open,
    /// No correct cluster says so.
    Wrong(String),
}

/// A node's API.
struct Door(kube::Client);

impl Door {
    async fn open(kubeconfig: &str, address: &str) -> Self {
        let file = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
        let mut config =
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a config");
        config.cluster_url = format!("https://{address}").parse().expect("an address");
        // What is sent twice must be written down twice.
        config.default_retry = false;
        Self(kube::Client::try_from(config).expect("a client"))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(bytes)).expect("a request");
        timeout(ANSWER, self.send(request)).await.unwrap_or(Answer::Open)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = match self.0.send(request).await {
            Ok(response) => response,
            Err(error) if never_sent(&error) => return Answer::Nothing,
            Err(_) => return Answer::Open,
        };
        let (code, stale) = (response.status(), response.headers().contains_key(header::WARNING));
        let Ok(body) = response.into_body().collect().await else { return Answer::Open };
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        match code {
            StatusCode::OK | StatusCode::CREATED => Answer::Done { body, stale },
            StatusCode::CONFLICT => Answer::Conflict,
            StatusCode::TOO_MANY_REQUESTS => Answer::Nothing,
            code if code.is_server_error() => Answer::Open,
            code => Answer::Wrong(format!("{code}: {}", body["message"])),
        }
    }
}

fn never_sent(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(client) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return client.is_connect();
        }
        next = error.source();
    }
    false
}

fn revision(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

fn value(object: &Value) -> Option<u64> {
    object["data"]["value"].as_str()?.parse().ok()
}

fn object(key: &str, value: u64, revision: Option<u64>) -> Value {
    let revision = revision.map(|revision| revision.to_string());
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "value": value.to_string() },
        "metadata": { "name": key, "labels": { "of": "clients" }, "resourceVersion": revision },
    })
}

impl Work {
    fn now(&self) -> At {
        self.began.elapsed()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    async fn run(self: Shared) {
        let mut doors = Vec::new();
        for address in &self.addresses {
            doors.push(Door::open(&self.kubeconfig, address).await);
        }
        let doors = Arc::new(doors);
        self.prepare(&doors[0]).await;
        let watch = tokio::spawn(self.clone().watch(doors.clone()));
        let clients = (0..CLIENTS).map(|nth| tokio::spawn(self.clone().client(nth, doors.clone())));
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("a client ends well");
        }
        self.look_again(&doors).await;
        self.watched.store(true, Ordering::SeqCst);
        watch.await.expect("the watch ends well");
    }

    /// Makes the objects, and begins to watch behind that.
    async fn prepare(&self, door: &Door) {
        for key in (0..KEYS).map(|n| format!("shared-{n}")) {
            let from = self.now();
            let Answer::Done { body, .. } = door.ask(Method::POST, PATH, Some(&object(&key, 0, None))).await else {
                panic!("{key} cannot be made");
            };
            let mut history = self.history.lock();
            let first = Operation { from, to: Some(self.now()), effect: Effect::Write(Some(0)) };
            history.operations.insert(key, vec![first]);
            history.watched_from = revision(&body).expect("a revision");
        }
    }

    async fn client(self: Shared, nth: usize, doors: Arc<Vec<Door>>) {
        for step in 0.. {
            if self.is_over() {
                return;
            }
            let key = format!("shared-{}", (nth + step) % KEYS);
            // The one that is asked for the write is another than the one that was read.
            let (reads, writes) = (&doors[(nth + step) % doors.len()], &doors[(nth + step / 2 + 1) % doors.len()]);
            if let Some((value, revision)) = self.read(reads, &key).await {
                let next = (step * CLIENTS + nth + 1) as u64;
                self.swap(writes, &key, (value, revision), next).await;
            }
            sleep(EVERY).await;
        }
    }

    /// What a node says of an object; what it calls old itself promises nothing.
    async fn read(&self, door: &Door, key: &str) -> Option<(u64, u64)> {
        let from = self.now();
        match door.ask(Method::GET, &format!("{PATH}/{key}"), None).await {
            Answer::Done { body, stale } => {
                let found = value(&body).zip(revision(&body));
                if !stale {
                    self.note(key, from, true, Effect::Read(value(&body)));
                }
                found
            }
            Answer::Wrong(why) => {
                self.note_wrong(format!("reading {key}: {why}"));
                None
            }
            Answer::Conflict | Answer::Nothing | Answer::Open => None,
        }
    }

    async fn swap(&self, door: &Door, key: &str, (expected, base): (u64, u64), next: u64) {
        let from = self.now();
        self.history.lock().tried.insert(next);
        let expected = Some(expected);
        let swap = Effect::Swap { expected, new: next };
        match door.ask(Method::PUT, &format!("{PATH}/{key}"), Some(&object(key, next, Some(base)))).await {
            Answer::Done { body, .. } => {
                self.note(key, from, true, swap);
                let revision = revision(&body).expect("a revision");
                let written = Written { key: key.into(), value: next, revision, from, to: self.now() };
                self.history.lock().written.push(written);
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Answer::Conflict => self.note(key, from, true, Effect::Differs(expected)),
            Answer::Open => self.note(key, from, false, swap),
            Answer::Nothing => {}
            Answer::Wrong(why) => self.note_wrong(format!("writing {key}: {why}")),
        }
    }

    fn note(&self, key: &str, from: At, answered: bool, effect: Effect) {
        let to = answered.then(|| self.now());
        self.history.lock().operations.entry(key.into()).or_default().push(Operation { from, to, effect });
    }

    fn note_wrong(&self, what: String) {
        self.history.lock().wrong.push(what);
    }

    /// Every object as every node has it in the end: nothing that was acknowledged is missing anywhere.
    async fn look_again(&self, doors: &[Door]) {
        let keys: Vec<String> = self.history.lock().operations.keys().cloned().collect();
        for door in doors {
            for key in &keys {
                let before = self.history.lock().operations[key].len();
                let until = self.now() + PATIENCE;
                while self.history.lock().operations[key].len() == before {
                    assert!(self.now() < until, "{key} cannot be read in the end");
                    self.read(door, key).await;
                    sleep(EVERY).await;
                }
            }
        }
    }

    /// Follows every change, at one node after another, until it has come to the last one.
    async fn watch(self: Shared, doors: Arc<Vec<Door>>) {
        let mut seen = self.history.lock().watched_from;
        let mut until = None;
        for node in 0.. {
            self.follow(&doors[node % doors.len()], &mut seen).await;
            let mut history = self.history.lock();
            if self.watched.load(Ordering::SeqCst) {
                let until = *until.get_or_insert(self.now() + PATIENCE);
                let last = history.written.iter().map(|one| one.revision).max().unwrap_or_default();
                if seen >= last || self.now() > until {
                    return;
                }
            }
            history.resumed += 1;
        }
    }

    async fn follow(&self, door: &Door, seen: &mut u64) {
        let path = format!("{PATH}?watch=true&{SELECTED}&resourceVersion={seen}");
        let request = Request::get(path).body(Vec::new()).expect("a request");
        let stream = match timeout(ANSWER, door.0.request_stream(request)).await {
            Ok(Ok(stream)) => stream,
            // Nobody is there, or it is not ready.
            _ => return sleep(EVERY).await,
        };
        let mut lines = Box::pin(stream.compat()).lines();
        for _ in 0..CHANGES_A_NODE {
            let Ok(Ok(Some(line))) = timeout(IDLE, lines.next_line()).await else { return };
            let Ok(event) = serde_json::from_str::<Value>(&line) else { return };
            let object = &event["object"];
            let (Some(revision), Some(value)) = (revision(object), value(object)) else {
                // Before it stops a node may say that it does.
                if object["code"] == 410 {
                    self.note_wrong(format!("the watch: {object}"));
                }
                return;
            };
            *seen = revision;
            let key = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.history.lock().changes.push(Change { revision, key, value });
        }
    }
}
