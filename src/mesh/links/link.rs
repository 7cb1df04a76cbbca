//! One connection to one peer, in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::counters::Counters;
use super::lane::Lane;
use super::silence::Silence;
use super::tasks::Tasks;
use crate::mesh::address::Class;
use crate::mesh::exports::Exports;
use crate::mesh::fabric::{Channel, Close};
use crate::model::NodeId;

/// A link is looked at this often within the time after which it counts as idle.
const LOOKS: u32 = 4;
/// A connection that another has replaced ends after this time without calls.
const RETIRE_AFTER: Duration = Duration::from_secs(1);
/// A connection that another has replaced ends after this time whatever goes on.
const RETIRE_LIMIT: Duration = Duration::from_secs(10);

/// The same where the way has changed, from a direct one to a relay's or back: nobody should notice. One that no longer
/// carries anything ends by itself.
const PATIENT_LIMIT: Duration = Duration::from_mins(10);

/// What all links of a node share.
pub struct Context {
    pub me: NodeId,
    pub generation: u64,
    pub exports: Exports,
    pub counters: Arc<Counters>,
    pub settings: Settings,
    /// Datagrams on their way to the membership.
    pub datagrams: mpsc::Sender<(NodeId, Bytes)>,
}

/// A connection with its streams. It ends once, by [`Link::end`].
pub struct Link {
    pub context: Arc<Context>,
    pub channel: Arc<dyn Channel>,
    pub peer: NodeId,
    /// Whether this node dialled it.
    pub dialled: bool,
    pub born: Instant,
    pub tasks: Tasks,
    /// Streams of the peer that are open.
    pub streams: AtomicUsize,
    /// Classes whose stream the peer has opened, as bits.
    pub served: AtomicU8,
    /// Which start of the peer's process this is; known once it has said hello on a stream.
    pub generation: watch::Sender<Option<u64>>,
    lanes: [Lane; 4],
    active: AtomicUsize,
    touched: AtomicBool,
    last_used: Mutex<Instant>,
    over: AtomicBool,
    ended: CancellationToken,
    retired: CancellationToken,
    patient: AtomicBool,
    silence: Mutex<Silence>,
}

impl Link {
    pub fn new(context: &Arc<Context>, channel: Arc<dyn Channel>, dialled: bool) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            peer: channel.peer().clone(),
            channel,
            dialled,
            born: Instant::now(),
            tasks: Tasks::new(),
            streams: AtomicUsize::new(0),
            served: AtomicU8::new(0),
            generation: watch::Sender::new(None),
            lanes: [Class::Raft, Class::Control, Class::Watch, Class::Bulk].map(Lane::new),
            active: AtomicUsize::new(0),
            touched: AtomicBool::new(false),
            last_used: Mutex::new(Instant::now()),
            over: AtomicBool::new(false),
            ended: CancellationToken::new(),
            retired: CancellationToken::new(),
            patient: AtomicBool::new(false),
            silence: Mutex::default(),
        })
    }

    /// The stream that this node's calls of `class` go through.
    pub fn lane(&self, class: Class) -> &Lane {
        let [raft, control, watch, bulk] = &self.lanes;
        match class {
            Class::Raft => raft,
            Class::Control => control,
            Class::Watch => watch,
            Class::Bulk => bulk,
        }
    }

    /// Whether it may be used for something new.
    pub fn is_usable(&self) -> bool {
        !self.ended.is_cancelled() && !self.retired.is_cancelled()
    }

    /// Whether nothing goes on.
    pub fn is_quiet(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// When it was last found in use.
    pub fn last_used(&self) -> Instant {
        *self.last_used.lock()
    }

    /// Marks use that leaves nothing behind, such as a datagram.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Keeps the link from counting as idle until the guard is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.active.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Waits until it has ended, or another has taken its place.
    pub async fn is_done_with(&self) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = self.retired.cancelled() => {}
        }
    }

    /// Another connection has taken its place: what goes on may end, for a while; for a long one where that connection
    /// goes another way; not at all where it is to a later start of the peer's process, for an earlier one is gone and
    /// answers no more.
    pub fn retire(self: &Arc<Self>, other: &Arc<Self>) {
        self.patient.store(self.is_relayed() != other.is_relayed(), Ordering::Relaxed);
        self.retired.cancel();
        other.tasks.spawn(self.clone().outlived_by(other.clone()));
    }

    async fn outlived_by(self: Arc<Self>, other: Arc<Self>) {
        let (mut mine, mut others) = (self.generation.subscribe(), other.generation.subscribe());
        let both = async {
            let mine = mine.wait_for(Option::is_some).await.ok().and_then(|known| *known);
            let others = others.wait_for(Option::is_some).await.ok().and_then(|known| *known);
            mine < others
        };
        tokio::select! {
            () = self.ended.cancelled() => {}
            outlived = both => if outlived { self.end(Close::Idle) },
        }
    }

    /// Whether it goes through another node.
    pub fn is_relayed(&self) -> bool {
        self.channel.is_relayed()
    }

    /// Whether the peer answers no more and that was not told of late. To be asked regularly.
    pub fn turns_silent(&self, now: Instant) -> bool {
        self.silence.lock().look(self.channel.packets(), now)
    }

    /// Ends the connection: every call on it is lost, every handler dropped.
    pub fn end(&self, why: Close) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        self.ended.cancel();
        self.channel.close(why);
        for lane in &self.lanes {
            lane.end();
        }
        self.tasks.end();
        self.context.counters.closed.add_one();
    }

    /// Serves the connection until it ends or nothing has gone on for long.
    pub async fn run(self: Arc<Self>) {
        let _end = EndOnDrop(self.clone());
        let retired_at = async {
            self.retired.cancelled().await;
            tokio::time::sleep(if self.patient.load(Ordering::Relaxed) { PATIENT_LIMIT } else { RETIRE_LIMIT }).await;
        };
        tokio::select! {
            () = self.ended.cancelled() => {}
            _ = self.channel.closed() => {}
            () = self.take_streams() => {}
            () = self.take_datagrams() => {}
            () = self.wait_for_quiet() => self.end(Close::Idle),
            () = retired_at => self.end(Close::Idle),
        }
    }

    async fn take_streams(self: &Arc<Self>) {
        while let Ok(duplex) = self.channel.accept().await {
            super::serve::incoming(self, duplex);
        }
    }

    async fn take_datagrams(&self) {
        while let Ok(datagram) = self.channel.datagram().await {
            self.touch();
            let counters = &self.context.counters;
            counters.datagrams_received.add_one();
            if self.context.datagrams.try_send((self.peer.clone(), datagram)).is_err() {
                counters.datagrams_dropped.add_one();
            }
        }
    }

    /// The dialling side gives up first, so that the two do not surprise each other.
    async fn wait_for_quiet(&self) {
        let mut quiet = 0;
        let wanted = if self.dialled { LOOKS } else { LOOKS + 1 };
        while quiet < wanted {
            if self.retired.is_cancelled() {
                tokio::time::sleep(RETIRE_AFTER / LOOKS).await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(self.context.settings.idle / LOOKS) => {}
                    () = self.retired.cancelled() => quiet = 0,
                }
            }
            if self.touched.swap(false, Ordering::Relaxed) || !self.is_quiet() {
                quiet = 0;
                *self.last_used.lock() = Instant::now();
            } else {
                quiet += 1;
            }
        }
    }
}

struct EndOnDrop(Arc<Link>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Close::Stopping);
    }
}

/// See [`Link::busy`].
pub struct Busy(Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
