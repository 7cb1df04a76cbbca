//! Connections to peers: at most one each, opened on demand, closed when idle; streams by class.
//!
//! Rooms: `dial` which connection is used, and how one is made; `link` a connection in use; `lane` this node's calls on
//! it, `serve` the peer's; `queue`, `pipe`, `tasks` what both stand on; `datagrams` the membership's way out and in;
//! `open` byte streams; `relay` peers that cannot be dialled, `silence` those that answer no more; `counters`
//! what is counted.

pub mod counters;
pub mod datagrams;
mod dial;
mod lane;
mod link;
mod open;
mod pipe;
pub mod queue;
pub mod relay;
pub mod serve;
mod silence;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use self::counters::Counters;
use self::dial::Peers;
use self::lane::{Reply, Unanswered};
use self::link::{Context, Link};
use self::tasks::Tasks;
use super::address::{Class, Failure};
use super::exports::Exports;
use super::fabric::{Close, Fabric};
use super::member::SharedView;
use super::mutant::mutant;
use super::wire::Frame;
use crate::model::NodeId;
use crate::world::entropy::Rng;

/// A connection without calls, streams and datagrams is closed after this time.
pub const IDLE: Duration = Duration::from_mins(1);
/// A dial that takes longer, over all addresses of a peer, has failed.
pub const DIAL_WITHIN: Duration = Duration::from_secs(3);
/// Most connections; the one longest out of use makes room for a new one.
pub const MAX_LINKS: usize = 1024;
/// Longest deadline of a call; a longer one is cut to it.
pub const MAX_DEADLINE: Duration = Duration::from_hours(24);
/// How often refused peers and forgotten ones are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Links that a call is offered to before it counts as unreachable: one may end just when it is chosen.
const ATTEMPTS: usize = 3;

/// What may be set, chiefly for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// See [`IDLE`].
    pub idle: Duration,
    /// See [`DIAL_WITHIN`].
    pub dial_within: Duration,
    /// See [`MAX_LINKS`].
    pub max_links: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle: IDLE, dial_within: DIAL_WITHIN, max_links: MAX_LINKS }
    }
}

/// Where a peer can be dialled, best first; empty where nobody knows.
pub type Directory = Box<dyn Fn(&NodeId) -> Vec<SocketAddr> + Send + Sync>;
type Refused = Arc<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// What links are made of.
pub struct LinksParts {
    /// This node.
    pub me: NodeId,
    /// Which start of its process.
    pub generation: u64,
    /// Connections.
    pub fabric: Arc<dyn Fabric>,
    /// Actors that others may call.
    pub exports: Exports,
    /// Where peers are.
    pub directory: Directory,
    /// The members, for relays: who may be one, whom it is worth to ask one for.
    pub view: watch::Receiver<SharedView>,
    /// For the jitter of back-offs, and the choice of relays.
    pub rng: Rng,
    /// Bounds and times.
    pub settings: Settings,
}

/// The connections of a node. Cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    context: Arc<Context>,
    fabric: Arc<dyn Fabric>,
    directory: Directory,
    view: watch::Receiver<SharedView>,
    /// Tunnels that this node carries.
    carrying: relay::Carrying,
    /// Tunnels of others that end here.
    arriving: relay::Carrying,
    rng: Mutex<Rng>,
    peers: Mutex<Peers>,
    refused: RwLock<Refused>,
    stopped: AtomicBool,
    tasks: Tasks,
}

impl Links {
    /// Links without a connection, and what peers send them as datagrams.
    pub fn new(parts: LinksParts) -> (Self, datagrams::Received) {
        let (sender, received) = mpsc::channel(datagrams::MAX_RECEIVED);
        let context = Context {
            me: parts.me,
            generation: parts.generation,
            exports: parts.exports,
            counters: Arc::new(Counters::default()),
            settings: parts.settings,
            datagrams: sender,
        };
        let inner = Inner {
            context: Arc::new(context),
            fabric: parts.fabric,
            directory: parts.directory,
            view: parts.view,
            carrying: relay::Carrying::default(),
            arriving: relay::Carrying::default(),
            rng: Mutex::new(parts.rng),
            peers: Mutex::default(),
            refused: RwLock::new(Arc::new(|_| false)),
            stopped: AtomicBool::new(false),
            tasks: Tasks::new(),
        };
        let links = Self(Arc::new(inner));
        relay::export(&links.0.context.exports, &links);
        (links, received)
    }

    /// What is counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.context.counters
    }

    /// Asks and waits for the answer. The question is sent at most once.
    pub async fn call(
        &self,
        to: &NodeId,
        class: Class,
        actor: &Arc<str>,
        version: u16,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Failure> {
        let until = Instant::now() + deadline.min(MAX_DEADLINE);
        self.0.context.counters.calls_made.add_one();
        let ask = |id| {
            let left = until.saturating_duration_since(Instant::now()).as_millis().max(1);
            let deadline_ms = u32::try_from(left).unwrap_or(u32::MAX);
            Frame::Call { id, actor: actor.clone(), version, deadline_ms, body: body.clone() }
        };
        for _ in 0..ATTEMPTS {
            let link = self.link_until(to, until).await?;
            match link.lane(class).ask(&link, Some(until), ask).await {
                Ok(reply) => return Ok(reply?),
                Err(Unanswered::NotSent) => {}
                Err(Unanswered::Failure(Failure::Lost(_))) if mutant("retry-after-send") => {}
                Err(Unanswered::Failure(failure)) => return Err(failure),
            }
        }
        Err(Failure::Unreachable(to.clone()))
    }

    /// Sends without an answer: handled once or never. Waits only where there is no connection yet.
    pub async fn cast(
        &self,
        to: &NodeId,
        class: Class,
        actor: &Arc<str>,
        version: u16,
        body: Bytes,
    ) -> Result<(), Failure> {
        let frame = Frame::Cast { actor: actor.clone(), version, body };
        for _ in 0..ATTEMPTS {
            let link = self.link(to).await?;
            match link.lane(class).cast(&link, &frame) {
                Ok(()) => return Ok(()),
                Err(Unanswered::NotSent) => {}
                Err(Unanswered::Failure(failure)) => return Err(failure),
            }
        }
        Err(Failure::Unreachable(to.clone()))
    }

    /// Asks to be told when the actor is gone. The reply is the end of the actor, or a refusal to watch it now; the
    /// second part tells which start of the peer's process was asked, where it said so. Fails with the connection.
    pub(super) async fn watch(&self, to: &NodeId, actor: &Arc<str>, generation: &mut Option<u64>) -> WatchOutcome {
        let Ok(link) = self.link(to).await else { return WatchOutcome::Unreachable };
        let mut told = link.generation.subscribe();
        let before = *generation;
        let ask = link.lane(Class::Watch).ask(&link, None, |id| Frame::Watch { id, actor: actor.clone() });
        let restarted = async {
            let now = told.wait_for(Option::is_some).await.ok().and_then(|now| *now);
            *generation = now;
            if before.is_none() || before == now {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = restarted => WatchOutcome::Restarted,
            reply = ask => match reply {
                Ok(Reply::Ok(_)) => WatchOutcome::Gone,
                Ok(Reply::Err(_)) => WatchOutcome::Refused,
                Err(_) => WatchOutcome::Lost,
            },
        }
    }

    /// Round trip of the connection to `peer`, where there is one.
    pub fn round_trip(&self, peer: &NodeId) -> Option<Duration> {
        self.present(peer).map(|link| link.channel.round_trip())
    }

    /// Where `peer` is now, where there is a connection.
    pub fn remote(&self, peer: &NodeId) -> Option<SocketAddr> {
        self.present(peer).map(|link| link.channel.remote())
    }

    /// Whom there is a connection to.
    pub fn connected(&self) -> Vec<NodeId> {
        self.0.peers.lock().connected()
    }

    /// See [`super::handle::Mesh::refuse`]. What `refused` says is asked again every [`SWEEP_EVERY`].
    pub fn refuse(&self, refused: impl Fn(&NodeId) -> bool + Send + Sync + 'static) {
        *self.0.refused.write() = Arc::new(refused);
        self.sweep();
    }

    fn is_refused(&self, peer: &NodeId) -> bool {
        let refused = self.0.refused.read().clone();
        refused(peer)
    }

    /// Takes connections from peers and keeps house, until the fabric ends.
    pub async fn run(&self) -> std::io::Error {
        let accept = async {
            while let Some(channel) = self.0.fabric.accept().await {
                let _ = self.adopt(channel, false);
            }
        };
        let keep_house = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                self.sweep();
            }
        };
        tokio::select! {
            () = accept => std::io::Error::other("the mesh's port takes no more connections"),
            () = keep_house => std::io::Error::other("the mesh no longer keeps house"),
        }
    }

    /// Ends connections to refused peers, forgets peers that nothing is known of any more, looks for silent ones.
    fn sweep(&self) {
        let now = Instant::now();
        let ended = self.0.peers.lock().sweep(now, |peer| self.is_refused(peer));
        let silent = self.0.peers.lock().silent(now);
        for peer in silent.into_iter().filter(|peer| self.may_relay(peer)) {
            self.0.tasks.spawn(self.clone().reroute(peer));
        }
        for link in ended {
            link.end(Close::Refused);
        }
    }

    /// Ends every connection and makes no more; every call under way ends.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.tasks.end();
        let links = self.0.peers.lock().take_all();
        for link in links {
            link.end(Close::Stopping);
        }
    }

    /// The link that calls to `peer` go through, dialled where there is none.
    async fn link(&self, peer: &NodeId) -> Result<Arc<Link>, Failure> {
        if let Some(link) = self.present(peer) {
            return Ok(link);
        }
        self.dialled(peer).await.ok_or_else(|| Failure::Unreachable(peer.clone()))
    }

    async fn link_until(&self, peer: &NodeId, until: Instant) -> Result<Arc<Link>, Failure> {
        match timeout_at(until, self.link(peer)).await {
            Ok(link) => link,
            Err(_) => Err(Failure::Unreachable(peer.clone())),
        }
    }

    fn present(&self, peer: &NodeId) -> Option<Arc<Link>> {
        self.0.peers.lock().usable(peer)
    }
}

/// How asking to watch an actor went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchOutcome {
    /// The actor is not exported, or no longer.
    Gone,
    /// Another start of the peer's process answered.
    Restarted,
    /// The peer watches too much for us already.
    Refused,
    /// The connection ended.
    Lost,
    /// There was none.
    Unreachable,
}
