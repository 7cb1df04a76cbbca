//! The simulated network: machines at addresses, connections between them, and one queue of what arrives when.
//!
//! `weather` conditions of every path; `conn` connections; `pipe` a direction of a stream; `dial` how connections come
//! to be, certificates included; `step` what arrives. `fabric` beside this is how a mesh sees it.

pub mod conn;
pub mod dial;
pub mod pipe;
mod step;
pub mod weather;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Notify;

use self::conn::Conn;
use self::dial::Dialling;
use self::pipe::{Chunk, Pipe};
use self::weather::Sky;
use super::authority::Papers;
use super::history::Opened;
use super::time::{At, Hand, NodeClock};
use crate::world::entropy::Rng;

/// A machine, by its number.
pub type Slot = usize;
/// An end of a connection: 0 dialled it, 1 accepted it.
pub type Side = usize;

/// A connection over which nothing came for so long is lost (QUIC's idle timeout, kept alive while the path is open).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a dial waits for an answer.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Datagrams that wait for a reader; more are dropped, as a socket's buffer does.
pub const DATAGRAM_QUEUE: usize = 256;
/// Largest datagram.
pub const DATAGRAM_BYTES: usize = 1200;
/// Connections that wait to be accepted.
pub const ACCEPT_QUEUE: usize = 64;
/// How often the health of connections is looked at.
const HEALTH_EVERY: Duration = Duration::from_millis(100);

/// A machine as the network knows it.
pub struct Host {
    /// Where it listens.
    pub at: SocketAddr,
    /// Which life of the process this is; connections of an earlier one are dead.
    pub life: u64,
    /// Whether the process runs.
    pub up: bool,
    /// Whether the process is stopped: it takes and answers nothing.
    pub frozen: bool,
    /// Its certificate and what it trusts.
    pub papers: Papers,
    /// Its clock.
    pub clock: Arc<NodeClock>,
    /// Connections that were made to it and not yet accepted.
    pub accepts: VecDeque<u64>,
    /// Told of each.
    pub accepted: Arc<Notify>,
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    Datagram { conn: u64, to: Side, bytes: Bytes },
    Chunk { pipe: u64 },
    Stopped { pipe: u64 },
    Dial { dial: u64 },
    Dialled { dial: u64 },
    Closed { conn: u64, side: Side, why: String },
}

/// What the network has done, for the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Of those, lost on the way or for want of room.
    pub dropped: u64,
    /// Of those, delivered twice.
    pub duplicated: u64,
    /// Connections made.
    pub connections: u64,
    /// Handshakes refused.
    pub refused: u64,
    /// Connections lost by silence.
    pub idled: u64,
}

/// The network's state.
pub struct Net {
    now: At,
    sequence: u64,
    rng: Rng,
    events: BTreeMap<(At, u64), Event>,
    next_health: At,
    pub(super) sky: Sky,
    pub(super) hosts: BTreeMap<Slot, Host>,
    conns: BTreeMap<u64, Conn>,
    pipes: BTreeMap<u64, Pipe>,
    dials: BTreeMap<u64, Dialling>,
    /// Connections that were made, for the history; taken by the run.
    pub(super) opened: Vec<Opened>,
    pub(super) counts: Counts,
    wakers: Vec<Waker>,
}

/// The network. Cheap to clone; clones are the same network.
#[derive(Clone)]
pub struct SimNet(Arc<Mutex<Net>>);

impl SimNet {
    /// A network of nobody.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Net {
            now: At::ZERO,
            sequence: 0,
            rng: Rng::seed_from_u64(seed ^ 0x6e65_7477),
            events: BTreeMap::new(),
            next_health: At::ZERO,
            sky: Sky::default(),
            hosts: BTreeMap::new(),
            conns: BTreeMap::new(),
            pipes: BTreeMap::new(),
            dials: BTreeMap::new(),
            opened: Vec::new(),
            counts: Counts::default(),
            wakers: Vec::new(),
        })))
    }

    /// Looks at or changes the network; whoever must be woken is, afterwards.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Net) -> T) -> T {
        let (outcome, wakers) = {
            let mut net = self.0.lock();
            let outcome = act(&mut net);
            (outcome, std::mem::take(&mut net.wakers))
        };
        wakers.into_iter().for_each(Waker::wake);
        outcome
    }

    /// Lets everything arrive that is due at `to`.
    pub fn step(&self, to: At, hand: &Hand) {
        hand.set(to);
        self.with(|net| net.step(to));
    }

    /// A process starts on a machine: connections of an earlier life are dead; where it listens at the same address,
    /// peers may be told so (a stateless reset).
    pub fn boot(&self, slot: Slot, at: SocketAddr, life: u64, papers: Papers, clock: Arc<NodeClock>) {
        self.with(|net| {
            let same = net.hosts.get(&slot).is_some_and(|host| host.at == at);
            let accepted = Arc::new(Notify::new());
            let host = Host { at, life, up: true, frozen: false, papers, clock, accepts: VecDeque::new(), accepted };
            net.hosts.insert(slot, host);
            if same && net.rng.random_bool(0.5) {
                net.reset_earlier_lives(slot, life);
            }
        });
    }

    /// The process on a machine is gone, without a word.
    pub fn crash(&self, slot: Slot) {
        self.with(|net| {
            if let Some(host) = net.hosts.get_mut(&slot) {
                host.up = false;
                host.frozen = false;
            }
        });
    }

    /// The process on a machine is stopped, or goes on.
    pub fn freeze(&self, slot: Slot, frozen: bool) {
        self.with(|net| {
            if let Some(host) = net.hosts.get_mut(&slot) {
                host.frozen = frozen;
            }
        });
    }

    /// Changes a machine's certificate or what it trusts.
    pub fn papers<T>(&self, slot: Slot, change: impl FnOnce(&mut Papers) -> T) -> Option<T> {
        self.with(|net| net.hosts.get_mut(&slot).map(|host| change(&mut host.papers)))
    }

    /// Changes the weather.
    pub fn sky<T>(&self, change: impl FnOnce(&mut Sky) -> T) -> T {
        self.with(|net| change(&mut net.sky))
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.with(|net| net.counts)
    }

    /// Connections between machines that are up, by pair, lower machine first.
    pub fn connections(&self) -> BTreeMap<(Slot, Slot), usize> {
        self.with(|net| {
            let mut pairs = BTreeMap::new();
            for conn in net.conns.values().filter(|conn| conn.ends.iter().all(|end| end.lost.is_none())) {
                let [a, b] = [conn.ends[0].slot, conn.ends[1].slot];
                *pairs.entry((a.min(b), a.max(b))).or_default() += 1;
            }
            pairs
        })
    }
}

impl Net {
    fn schedule(&mut self, due: At, event: Event) {
        self.sequence += 1;
        self.events.insert((due.max(self.now), self.sequence), event);
    }

    /// Whether packets from a connection's `from` side reach the other's machine.
    fn comes_through(&self, conn: &Conn, from: Side) -> bool {
        let (sender, receiver) = (conn.end(from), conn.end(1 - from));
        self.sky.is_open(sender.slot, receiver.slot)
            && self.hosts.get(&receiver.slot).is_some_and(|host| host.up && host.life == receiver.life)
    }

    /// Whether the end's process still runs.
    pub(super) fn is_alive(&self, conn: u64, side: Side) -> bool {
        let Some(conn) = self.conns.get(&conn) else { return false };
        let end = conn.end(side);
        self.hosts.get(&end.slot).is_some_and(|host| host.up && host.life == end.life)
    }

    /// Puts a chunk on its way.
    fn send_chunk(&mut self, pipe_id: u64, at: At, chunk: Chunk) {
        let Some(pipe) = self.pipes.get(&pipe_id) else { return };
        let Some(conn) = self.conns.get(&pipe.conn) else { return };
        let weather = self.sky.between(conn.end(pipe.writer).slot, conn.end(1 - pipe.writer).slot);
        let way = weather.reliable_way(&mut self.rng);
        let Some(pipe) = self.pipes.get_mut(&pipe_id) else { return };
        let due = pipe.under_way.back().map_or(at + way, |(last, _)| (at + way).max(*last));
        let first = pipe.under_way.is_empty();
        pipe.under_way.push_back((due, chunk));
        if first {
            self.schedule(due, Event::Chunk { pipe: pipe_id });
        }
    }

    fn reset_earlier_lives(&mut self, slot: Slot, life: u64) {
        let stale: Vec<(u64, Side)> = self
            .conns
            .iter()
            .flat_map(|(id, conn)| (0..2).map(move |side| (*id, side, conn)))
            .filter(|(_, side, conn)| conn.end(*side).slot == slot && conn.end(*side).life < life)
            .map(|(id, side, _)| (id, 1 - side))
            .collect();
        for (conn, side) in stale {
            let due = self.now + Duration::from_millis(self.rng.random_range(1..200));
            self.schedule(due, Event::Closed { conn, side, why: "reset by a new process".into() });
        }
    }
}
