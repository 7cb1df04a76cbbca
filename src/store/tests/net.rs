//! Stores that reach each other in memory, through messages that are really encoded; links can be cut, slow and lossy.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

#[derive(Default)]
pub struct Net {
    stores: Mutex<std::collections::BTreeMap<String, Store>>,
    cut: Mutex<BTreeSet<(String, String)>>,
    /// Killed: neither answers nor refuses.
    dead: Mutex<BTreeSet<String>>,
    /// One way of a message.
    pub delay: Mutex<Duration>,
    /// Share of messages and of answers that are lost.
    pub loses: Mutex<f64>,
    /// Answers to commits are lost.
    pub loses_commit_answers: std::sync::atomic::AtomicBool,
    pub calls: AtomicU64,
    pub read_indexes: AtomicU64,
    pub chunks: AtomicUsize,
    /// Entries of the log in all messages.
    pub entries: AtomicUsize,
    rng: Mutex<Option<Rng>>,
}

struct Door {
    net: Arc<Net>,
    own: String,
}

impl Net {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { rng: Mutex::new(Some(Rng::seed_from_u64(seed))), ..Self::default() })
    }

    pub fn cut(&self, a: &str, b: &str) {
        self.cut.lock().extend([(a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned())]);
    }

    pub fn heal(&self) {
        self.cut.lock().clear();
    }

    /// Takes a store off the net, as its death does.
    pub fn take(&self, node: &str) -> Option<Store> {
        self.stores.lock().remove(node)
    }

    /// Takes a store off the net as `kill -9` does: whoever calls it hears nothing, not even a refusal.
    pub fn kill(&self, node: &str) -> Option<Store> {
        self.dead.lock().insert(node.to_owned());
        self.take(node)
    }

    fn is_dead(&self, node: &str) -> bool {
        self.dead.lock().contains(node)
    }

    /// The store of `node`.
    pub fn stores_of(&self, node: &str) -> Store {
        self.stores.lock().get(node).cloned().unwrap()
    }

    fn reach(&self, from: &str, to: &str) -> Option<Store> {
        if self.cut.lock().contains(&(from.to_owned(), to.to_owned())) {
            return None;
        }
        self.stores.lock().get(to).cloned()
    }

    fn lost(&self) -> bool {
        let share = *self.loses.lock();
        share > 0.0 && self.rng.lock().as_mut().is_some_and(|rng| rng.random_bool(share))
    }

    pub async fn try_open(self: &Arc<Self>, options: StoreOptions, world: World) -> Result<Store, Error> {
        let node = options.node.clone();
        let door = Arc::new(Door { net: self.clone(), own: node.clone() });
        let store = Store::open_with(options, door, world).await?;
        self.dead.lock().remove(&node);
        self.stores.lock().insert(node, store.clone());
        Ok(store)
    }

    pub async fn open(self: &Arc<Self>, node: u64, disk: &SimDisk) -> Store {
        self.try_open(options(node), simulated(disk, node)).await.unwrap()
    }
}

/// Node `n1` founds, all others join.
pub fn options(node: u64) -> StoreOptions {
    StoreOptions {
        node: format!("n{node}"),
        raft_id: node,
        role: if node == FIRST_VOTER { Role::Found } else { Role::Join },
        ..small(Driver::Task)
    }
}

fn through<T: Serialize + DeserializeOwned>(message: &T) -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(message).unwrap()).unwrap()
}

#[async_trait]
impl Peers for Door {
    async fn call(&self, target: &Peer, request: PeerRequest) -> io::Result<PeerAnswer> {
        self.net.calls.fetch_add(1, Ordering::Relaxed);
        let delay = *self.net.delay.lock();
        tokio::time::sleep(delay).await;
        if self.net.is_dead(&self.own) || self.net.is_dead(&target.node) {
            std::future::pending::<()>().await;
        }
        if self.net.reach(&self.own, &target.node).is_none() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if self.net.lost() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        match &request {
            PeerRequest::Chunk { chunk, .. } => {
                assert!(chunk.bytes.len() <= raft::transfer::CHUNK_BYTES);
                self.net.chunks.fetch_add(1, Ordering::Relaxed);
            }
            PeerRequest::Append { request, .. } => {
                self.net.entries.fetch_add(request.entries.len(), Ordering::Relaxed);
            }
            PeerRequest::ReadIndex { .. } => drop(self.net.read_indexes.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
        let loses = self.net.loses_commit_answers.load(Ordering::Relaxed);
        let forgets = loses && matches!(request, PeerRequest::Once { .. });
        let Some(store) = self.net.reach(&self.own, &target.node) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let answer = store.answer(&self.own, through(&request)).await;
        drop(store);
        tokio::time::sleep(delay).await;
        if self.net.is_dead(&self.own) || self.net.is_dead(&target.node) {
            std::future::pending::<()>().await;
        }
        if self.net.lost() || forgets || self.net.reach(&self.own, &target.node).is_none() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(through(&answer))
    }
}

/// Waits until `done`, for at most a minute of the tokio clock.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within a minute: {what}");
}

/// Waits until `follower` has applied all that `leader` has.
pub async fn level(leader: &Store, follower: &Store) {
    let wanted = leader.revision();
    eventually("the follower has caught up", || follower.revision() >= wanted).await;
}

/// Everything that can be read at `at`.
pub fn objects(store: &Store, at: Revision) -> Vec<Arc<Record>> {
    store.list(&Scope::ALL, Some(at), None, 0).unwrap().records
}

/// A founder and one learner that has caught up.
pub async fn pair(net: &Arc<Net>, disks: (&SimDisk, &SimDisk)) -> (Store, Store) {
    let leader = net.open(1, disks.0).await;
    let learner = net.open(2, disks.1).await;
    leader.add_learner(2, "n2").await.unwrap();
    learner.caught_up().await.unwrap();
    (leader, learner)
}
