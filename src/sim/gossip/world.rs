//! A network of membership cores: one queue of events, loss, delay, doubling, reordering, cuts in one direction, nodes
//! that stand still and clocks that drift.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::mesh::member::{Meta, View};
use crate::mesh::membership::{Acquaintance, Effect, Membership, Recipient, Seed, Settings, generation};
use crate::model::{NodeId, Timestamp};

/// Bytes that QUIC, UDP and IP add to a datagram: 20 + 8 of IP and UDP, 1 + 8 + 2 of QUIC's short header, 16 of its
/// seal, 3 of the frame.
pub const OVERHEAD: u64 = 58;
/// Wall-clock time at the start of each run.
const EPOCH: i64 = 1_800_000_000_000_000;

/// How the network treats datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Part that is lost.
    pub loss: f64,
    /// Part that arrives twice.
    pub doubled: f64,
    /// Shortest way.
    pub delay: Duration,
    /// What is added at random; reorders where it is large.
    pub jitter: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        let (delay, jitter) = (Duration::from_micros(200), Duration::from_micros(800));
        Self { loss: 0.0, doubled: 0.0, delay, jitter }
    }
}

/// A node's place.
pub struct Place {
    /// Its process, while it runs.
    pub core: Option<Membership>,
    /// The generation of its last start.
    pub generation: u64,
    /// It stands still until then.
    pub still_until: i64,
    /// What arrived meanwhile.
    unread: Vec<(u32, Bytes)>,
    wake: i64,
    /// Its clock runs faster by so many millionths.
    drift: i64,
    /// Bytes that it sent, [`OVERHEAD`] included.
    pub sent: u64,
    /// Datagrams that it sent.
    pub datagrams: u64,
    /// Something changed in its view since this was last cleared.
    pub changed: bool,
}

enum Event {
    Arrives { to: u32, from: u32, bytes: Bytes },
    Wake(u32),
    Moves(u32),
}

/// Nodes and the network between them.
pub struct World {
    /// By number.
    pub places: Vec<Place>,
    /// Pairs whose first cannot send to the second.
    pub cuts: BTreeSet<(u32, u32)>,
    /// How datagrams fare.
    pub weather: Weather,
    /// Now, microseconds since the start.
    pub now: i64,
    /// Nodes whose view has changed since this was last taken.
    pub touched: Vec<u32>,
    /// Choices of whoever drives the world.
    pub rng: ChaCha8Rng,
    settings: Settings,
    queue: BinaryHeap<Reverse<(i64, u64, u32)>>,
    events: Vec<Option<Event>>,
    free: Vec<u32>,
    order: u64,
}

/// The name of a node.
pub fn name(node: usize) -> NodeId {
    NodeId(format!("n{node:05}").into())
}

/// The node of a name.
pub fn number(node: &NodeId) -> Option<usize> {
    node.0.strip_prefix('n')?.parse().ok()
}

/// An address for each node, so that seeds can be named by it.
pub fn address(node: usize) -> std::net::SocketAddr {
    ([10, 0, 0, 1], u16::try_from(node).unwrap_or(u16::MAX)).into()
}

impl World {
    /// No nodes yet.
    pub fn new(seed: u64, settings: Settings, weather: Weather) -> Self {
        Self {
            places: Vec::new(),
            cuts: BTreeSet::new(),
            weather,
            now: 0,
            touched: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            settings,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            order: 0,
        }
    }

    /// Adds a place without a process.
    pub fn place(&mut self) -> usize {
        let drift = self.rng.random_range(-200..=200);
        self.places.push(Place {
            core: None,
            generation: 0,
            still_until: 0,
            unread: Vec::new(),
            wake: i64::MAX,
            drift,
            sent: 0,
            datagrams: 0,
            changed: false,
        });
        self.places.len() - 1
    }

    /// Starts a process at a place; it knows `others` from the start and asks `seeds`.
    pub fn start(&mut self, node: usize, others: &[Acquaintance], seeds: &[usize]) {
        let now = self.clock(node);
        let choices = self.rng.random();
        let Some(place) = self.places.get_mut(node) else { return };
        place.generation = generation::next((place.generation > 0).then_some(place.generation), now);
        let meta = Meta {
            version: 1,
            addresses: vec![address(node)],
            zone: "zone-a".into(),
            pod_cidr: "10.244.3.0/24".into(),
            capacity_millicores: 16_000,
            capacity_bytes: 64 << 30,
            load_millicores: 1_000,
            protocol: 1,
            release: "0.1.0".into(),
            role: "learner".into(),
        };
        let core = Membership::new(&name_of(index(node)), place.generation, meta, self.settings.clone(), choices, now);
        let Ok(mut core) = core else { return };
        core.acquaint(now, others.iter().filter(|_| !others.is_empty()));
        core.join(now, seeds.iter().map(|seed| Seed { node: None, address: address(*seed) }));
        place.core = Some(core);
        place.still_until = 0;
        place.unread.clear();
        self.after(node);
    }

    /// The process ends at once, without a word.
    pub fn kill(&mut self, node: usize) {
        if let Some(place) = self.places.get_mut(node) {
            place.core = None;
            place.unread.clear();
        }
    }

    /// Calls a node's core with its present time.
    pub fn with(&mut self, node: usize, call: impl FnOnce(&mut Membership, Timestamp)) {
        let now = self.clock(node);
        if let Some(core) = self.places.get_mut(node).and_then(|place| place.core.as_mut()) {
            call(core, now);
        }
        self.after(node);
    }

    /// The node stands still for a while; what arrives waits for it.
    pub fn pause(&mut self, node: usize, time: Duration) {
        let until = self.now + micros(time);
        if let Some(place) = self.places.get_mut(node) {
            place.still_until = place.still_until.max(until);
        }
        self.push(until, Event::Moves(index(node)));
    }

    /// What a node sees, while it runs.
    pub fn view(&self, node: usize) -> Option<View> {
        self.places.get(node)?.core.as_ref().map(Membership::view)
    }

    /// Whether datagrams pass both ways between two.
    pub fn joined(&self, a: usize, b: usize) -> bool {
        let (a, b) = (index(a), index(b));
        !self.cuts.contains(&(a, b)) && !self.cuts.contains(&(b, a))
    }

    /// Takes the next event up to `until`; false where there is none.
    pub fn step(&mut self, until: i64) -> bool {
        let Some(Reverse((at, _, _))) = self.queue.peek() else {
            self.now = until;
            return false;
        };
        if *at > until {
            self.now = until;
            return false;
        }
        let Some(Reverse((at, _, place))) = self.queue.pop() else { return false };
        self.now = at;
        let event = self.events.get_mut(place as usize).and_then(Option::take);
        self.free.push(place);
        match event {
            Some(Event::Arrives { to, from, bytes }) => self.arrives(to, from, bytes),
            Some(Event::Wake(node)) => self.wakes(node, at),
            Some(Event::Moves(node)) => self.moves(node),
            None => {}
        }
        true
    }

    /// Runs for a while.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + micros(time);
        while self.step(until) {}
    }

    /// A node's own clock.
    fn clock(&self, node: usize) -> Timestamp {
        let drift = self.places.get(node).map_or(0, |place| place.drift);
        Timestamp(EPOCH + self.now + self.now / 1_000 * drift / 1_000)
    }

    fn push(&mut self, at: i64, event: Event) {
        let place = if let Some(place) = self.free.pop() {
            if let Some(slot) = self.events.get_mut(place as usize) {
                *slot = Some(event);
            }
            place
        } else {
            self.events.push(Some(event));
            index(self.events.len() - 1)
        };
        self.order += 1;
        self.queue.push(Reverse((at, self.order, place)));
    }

    fn arrives(&mut self, to: u32, from: u32, bytes: Bytes) {
        let (node, now) = (to as usize, self.now);
        let clock = self.clock(node);
        let Some(place) = self.places.get_mut(node) else { return };
        let Some(core) = &mut place.core else { return };
        if place.still_until > now {
            // A socket's buffer is finite too.
            if place.unread.len() < 10_000 {
                place.unread.push((from, bytes));
            }
            return;
        }
        core.received(clock, &name_of(from), &bytes);
        self.after(node);
    }

    fn wakes(&mut self, node: u32, at: i64) {
        let (node, now) = (node as usize, self.now);
        let clock = self.clock(node);
        let Some(place) = self.places.get_mut(node) else { return };
        if place.wake != at {
            return;
        }
        place.wake = i64::MAX;
        if place.still_until > now {
            return;
        }
        if let Some(core) = &mut place.core {
            core.due(clock);
        }
        self.after(node);
    }

    /// A node that stood still goes on: its timers or what it has not read come first, as chance has it.
    fn moves(&mut self, node: u32) {
        let (at, now) = (node as usize, self.now);
        let clock = self.clock(at);
        let timers_first = self.rng.random();
        let Some(place) = self.places.get_mut(at).filter(|place| place.still_until <= now) else { return };
        let unread = std::mem::take(&mut place.unread);
        if let Some(core) = &mut place.core {
            if timers_first {
                core.due(clock);
            }
            for (from, bytes) in unread {
                core.received(clock, &name_of(from), &bytes);
            }
        }
        self.after(at);
    }

    /// Carries out what a core wants.
    fn after(&mut self, node: usize) {
        let now = self.now;
        let Some(place) = self.places.get_mut(node) else { return };
        let Some(core) = &mut place.core else { return };
        let effects: Vec<Effect> = core.drain().collect();
        let due = core.next_due().map(|due| due.0 - EPOCH);
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::Changed => changed = true,
                Effect::Send { to, bytes } => self.send(node, &to, bytes),
            }
        }
        let Some(place) = self.places.get_mut(node) else { return };
        if changed && !place.changed {
            place.changed = true;
            self.touched.push(index(node));
        }
        if let Some(due) = due {
            // A little late rather than early, so that it is due when it wakes.
            let due = (due - due / 1_000 * place.drift / 1_000 + 2).max(now + 1);
            if due != place.wake {
                place.wake = due;
                self.push(due, Event::Wake(index(node)));
            }
        }
    }

    fn send(&mut self, from: usize, to: &Recipient, bytes: Bytes) {
        let to = match to {
            Recipient::Member(node) => number(node),
            Recipient::Seed(seed) => Some(usize::from(seed.address.port())),
        };
        let Some(to) = to.filter(|to| *to < self.places.len()) else { return };
        if let Some(place) = self.places.get_mut(from) {
            place.sent += bytes.len() as u64 + OVERHEAD;
            place.datagrams += 1;
        }
        let (from, to) = (index(from), index(to));
        if !self.cuts.is_empty() && self.cuts.contains(&(from, to)) {
            return;
        }
        let Weather { loss, doubled, delay, jitter } = self.weather;
        let copies = if doubled > 0.0 && self.rng.random_bool(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if loss > 0.0 && self.rng.random_bool(loss) {
                continue;
            }
            let late = self.rng.random_range(0..=micros(jitter));
            let event = Event::Arrives { to, from, bytes: bytes.clone() };
            self.push(self.now + micros(delay) + late, event);
        }
    }
}

thread_local! {
    static NAMES: std::cell::RefCell<Vec<NodeId>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Like [`name`], made once.
fn name_of(node: u32) -> NodeId {
    NAMES.with_borrow_mut(|names| {
        while names.len() <= node as usize {
            names.push(name(names.len()));
        }
        names.get(node as usize).cloned().unwrap_or_else(|| name(node as usize))
    })
}

fn index(node: usize) -> u32 {
    u32::try_from(node).unwrap_or(u32::MAX)
}

/// Whole microseconds.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
