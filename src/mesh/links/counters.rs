//! What the links count, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mesh::address::{Class, Refusal};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each class of stream.
#[derive(Debug, Default)]
pub struct ByClass([Counter; 4]);

impl ByClass {
    /// The counter of `class`.
    pub fn of(&self, class: Class) -> &Counter {
        let [raft, control, watch, bulk] = &self.0;
        match class {
            Class::Raft => raft,
            Class::Control => control,
            Class::Watch => watch,
            Class::Bulk => bulk,
        }
    }
}

/// Refusals sent, by reason.
#[derive(Debug, Default)]
pub struct ByReason {
    /// [`Refusal::UnknownActor`].
    pub unknown_actor: Counter,
    /// [`Refusal::UnknownMessage`].
    pub unknown_message: Counter,
    /// [`Refusal::Version`].
    pub version: Counter,
    /// [`Refusal::Busy`].
    pub busy: Counter,
    /// [`Refusal::Forbidden`].
    pub forbidden: Counter,
    /// [`Refusal::Fenced`].
    pub fenced: Counter,
    /// [`Refusal::Failed`].
    pub failed: Counter,
}

impl ByReason {
    /// The counter of such refusals.
    pub fn of(&self, refusal: &Refusal) -> &Counter {
        match refusal {
            Refusal::UnknownActor(_) => &self.unknown_actor,
            Refusal::UnknownMessage(_) => &self.unknown_message,
            Refusal::Version { .. } => &self.version,
            Refusal::Busy => &self.busy,
            Refusal::Forbidden(_) => &self.forbidden,
            Refusal::Fenced => &self.fenced,
            Refusal::Failed(_) => &self.failed,
        }
    }
}

/// Everything that the links of a node count.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames received.
    pub frames_received: ByClass,
    /// Frames put into the queues of streams.
    pub frames_sent: ByClass,
    /// Calls that this node made of others.
    pub calls_made: Counter,
    /// Calls of others that were given to a handler.
    pub calls_served: Counter,
    /// Refusals sent.
    pub refused: ByReason,
    /// Calls and casts not sent because the queue was full, and casts not handled because too much was under way.
    pub shed: ByClass,
    /// Frames that could not be read, or broke the protocol; each ended a connection.
    pub malformed: Counter,
    /// Answers that nobody waits for any more.
    pub late_answers: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Byte streams granted to others.
    pub streams_served: Counter,
    /// Streams of peers that were dropped because too many were open.
    pub streams_dropped: Counter,
    /// Datagrams handed to connections.
    pub datagrams_sent: Counter,
    /// Datagrams received.
    pub datagrams_received: Counter,
    /// Datagrams dropped: no connection, or the queue of received ones was full.
    pub datagrams_dropped: Counter,
    /// Connections, of both directions.
    pub opened: Counter,
    /// Connections that have ended.
    pub closed: Counter,
    /// Connections ended because the peer did not read its answers.
    pub stalled: Counter,
    /// Connections not taken: the peer is refused, or there are too many.
    pub turned_away: Counter,
    /// Dials that gave no connection.
    pub dial_failures: Counter,
    /// Connections made through another node.
    pub relayed: Counter,
    /// Pairs of other nodes that this one has begun to carry between.
    pub relays_carried: Counter,
    /// Requests for that turned down, at the relay or at the far end.
    pub relays_refused: Counter,
    /// Bytes carried between others.
    pub relayed_bytes: Counter,
}

impl Counters {
    /// Every count with its name and, where there is more than one of it, which.
    pub fn each(&self) -> Vec<(&'static str, &'static str, u64)> {
        let classes =
            [(Class::Raft, "raft"), (Class::Control, "control"), (Class::Watch, "watch"), (Class::Bulk, "bulk")];
        let by_class =
            [("frames_received", &self.frames_received), ("frames_sent", &self.frames_sent), ("shed", &self.shed)];
        let classed = by_class.iter().flat_map(|(name, counts)| {
            classes.iter().map(move |(class, which)| (*name, *which, counts.of(*class).get()))
        });
        let refused = &self.refused;
        let reasons = [
            ("unknown_actor", &refused.unknown_actor),
            ("unknown_message", &refused.unknown_message),
            ("version", &refused.version),
            ("busy", &refused.busy),
            ("forbidden", &refused.forbidden),
            ("fenced", &refused.fenced),
            ("failed", &refused.failed),
        ];
        let plain = [
            ("calls_made", &self.calls_made),
            ("calls_served", &self.calls_served),
            ("malformed", &self.malformed),
            ("late_answers", &self.late_answers),
            ("panics", &self.panics),
            ("streams_served", &self.streams_served),
            ("streams_dropped", &self.streams_dropped),
            ("datagrams_sent", &self.datagrams_sent),
            ("datagrams_received", &self.datagrams_received),
            ("datagrams_dropped", &self.datagrams_dropped),
            ("opened", &self.opened),
            ("closed", &self.closed),
            ("stalled", &self.stalled),
            ("turned_away", &self.turned_away),
            ("dial_failures", &self.dial_failures),
        ];
        let refused = reasons.into_iter().map(|(which, count)| ("refused", which, count.get()));
        classed.chain(refused).chain(plain.into_iter().map(|(name, count)| (name, "", count.get()))).collect()
    }
}
