//! A fabric inside one process, for tests.
//!
//! A [`Wiring`] decides what happens to what is sent; [`Switches`] is one that tests turn by hand. `pipe` holds the
//! bytes of a stream, `connection` what two ends share.

mod connection;
mod pipe;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use self::connection::Connection;
use super::fabric::{Channel, DialError, Fabric};
use crate::model::NodeId;

/// Connections that wait to be accepted by one node.
const BACKLOG: usize = 256;
/// How often something that is held back asks whether it still is.
pub const HELD_FOR: Duration = Duration::from_millis(10);
/// A connection that gets nothing through in one direction is lost after this time.
pub const LOST_AFTER: Duration = Duration::from_secs(10);

/// What happens between two nodes. Asked for every piece, so that answers may change.
pub trait Wiring: Send + Sync + 'static {
    /// How long bytes of a stream take from one node to another; `None` holds them back until asked again.
    fn stream(&self, from: &NodeId, to: &NodeId) -> Option<Duration>;

    /// How long each copy of a datagram takes: none is a loss, two are a duplicate.
    fn datagram(&self, from: &NodeId, to: &NodeId) -> Vec<Duration> {
        self.stream(from, to).into_iter().collect()
    }
}

/// A wiring that is turned by hand: everything arrives at once until it is told otherwise.
#[derive(Default)]
pub struct Switches {
    state: Mutex<SwitchState>,
}

#[derive(Default)]
struct SwitchState {
    delay: Duration,
    cuts: BTreeSet<(NodeId, NodeId)>,
}

impl Switches {
    /// Nothing gets from `from` to `to` any more; the other way it does.
    pub fn cut_one_way(&self, from: &NodeId, to: &NodeId) {
        self.state.lock().cuts.insert((from.clone(), to.clone()));
    }

    /// Nothing gets from one to the other any more, both ways.
    pub fn cut(&self, one: &NodeId, other: &NodeId) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Undoes every cut.
    pub fn heal(&self) {
        self.state.lock().cuts.clear();
    }

    /// Everything takes this long from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }
}

impl Wiring for Switches {
    fn stream(&self, from: &NodeId, to: &NodeId) -> Option<Duration> {
        let state = self.state.lock();
        (!state.cuts.contains(&(from.clone(), to.clone()))).then_some(state.delay)
    }
}

/// The nodes of one process.
#[derive(Clone)]
pub struct Network(Arc<Nodes>);

struct Nodes {
    wiring: Arc<dyn Wiring>,
    listening: Mutex<BTreeMap<SocketAddr, Listener>>,
    connections: Mutex<Vec<Weak<Connection>>>,
}

struct Listener {
    node: NodeId,
    arrivals: mpsc::Sender<Arc<dyn Channel>>,
}

impl Network {
    /// Nobody yet.
    pub fn new(wiring: Arc<dyn Wiring>) -> Self {
        Self(Arc::new(Nodes { wiring, listening: Mutex::default(), connections: Mutex::default() }))
    }

    /// A node that listens at `at`, in place of one that did before. Gone when dropped.
    pub fn join(&self, node: &NodeId, at: SocketAddr) -> Arc<MemoryFabric> {
        let (sender, arrivals) = mpsc::channel(BACKLOG);
        self.0.listening.lock().insert(at, Listener { node: node.clone(), arrivals: sender.clone() });
        let arrivals = tokio::sync::Mutex::new(arrivals);
        Arc::new(MemoryFabric { network: self.clone(), node: node.clone(), at, sender, arrivals })
    }

    /// Breaks every connection between two nodes, as a lost one breaks.
    pub fn sever(&self, one: &NodeId, other: &NodeId) {
        for connection in self.connections() {
            if connection.joins(one, other) {
                connection.fail("severed");
            }
        }
    }

    /// How many connections there are between two nodes.
    pub fn count(&self, one: &NodeId, other: &NodeId) -> usize {
        self.connections().iter().filter(|connection| connection.is_up() && connection.joins(one, other)).count()
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.0.connections.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn remember(&self, connection: &Arc<Connection>) {
        let mut connections = self.0.connections.lock();
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(connection));
    }
}

/// One node of a [`Network`].
pub struct MemoryFabric {
    network: Network,
    node: NodeId,
    at: SocketAddr,
    sender: mpsc::Sender<Arc<dyn Channel>>,
    arrivals: tokio::sync::Mutex<mpsc::Receiver<Arc<dyn Channel>>>,
}

impl MemoryFabric {
    /// A dial takes one round trip, and as long as it takes while it is held back.
    async fn connect(&self, wanted: Option<&NodeId>, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        let there = || {
            let listening = self.network.0.listening.lock();
            listening.get(&at).map(|listener| (listener.node.clone(), listener.arrivals.clone()))
        };
        let (peer, _) = there().ok_or(DialError::Unreachable(at))?;
        for (from, to) in [(&self.node, &peer), (&peer, &self.node)] {
            tokio::time::sleep(self.passage(from, to).await).await;
        }
        let (answers, arrivals) = there().ok_or(DialError::Unreachable(at))?;
        if wanted.is_some_and(|wanted| *wanted != answers) {
            return Err(DialError::Refused { at, reason: format!("{answers} answers there") });
        }
        let ends = [(self.node.clone(), self.at), (answers, at)];
        let connection = Connection::new(self.network.0.wiring.clone(), ends);
        self.network.remember(&connection);
        let (near, far) = connection::ends(&connection);
        arrivals.try_send(far).map_err(|_| DialError::Unreachable(at))?;
        Ok(near)
    }

    async fn passage(&self, from: &NodeId, to: &NodeId) -> Duration {
        loop {
            match self.network.0.wiring.stream(from, to) {
                Some(delay) => return delay,
                None => tokio::time::sleep(HELD_FOR).await,
            }
        }
    }
}

#[async_trait]
impl Fabric for MemoryFabric {
    async fn dial(&self, peer: &NodeId, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        self.connect(Some(peer), at).await
    }

    async fn dial_any(&self, at: SocketAddr) -> Result<Arc<dyn Channel>, DialError> {
        self.connect(None, at).await
    }

    async fn accept(&self) -> Option<Arc<dyn Channel>> {
        self.arrivals.lock().await.recv().await
    }

    fn local(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for MemoryFabric {
    fn drop(&mut self) {
        let mut listening = self.network.0.listening.lock();
        if listening.get(&self.at).is_some_and(|listener| listener.arrivals.same_channel(&self.sender)) {
            listening.remove(&self.at);
        }
    }
}
