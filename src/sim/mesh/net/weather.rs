//! What the network does to packets between two machines: how long they take, which are lost, who is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng as _;

use super::Slot;
use crate::world::entropy::Rng;

/// How long a sender waits before it sends again what was not acknowledged.
pub const RETRANSMIT: Duration = Duration::from_millis(120);
/// Most retransmissions of one packet that are drawn, so that a delay has a bound.
const MOST_RETRANSMITS: u32 = 12;

/// The conditions on a path in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Shortest and longest way.
    pub latency: (Duration, Duration),
    /// Share of packets that are lost.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams that others overtake.
    pub reorder: f64,
    /// Share of packets that take this much longer.
    pub spike: (f64, Duration),
}

impl Weather {
    /// A quiet local network.
    pub const CALM: Self = Self {
        latency: (Duration::from_micros(200), Duration::from_millis(2)),
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        spike: (0.0, Duration::ZERO),
    };

    /// How long the next packet takes.
    pub fn way(&self, rng: &mut Rng) -> Duration {
        let (least, most) = (micros(self.latency.0), micros(self.latency.1));
        let way = Duration::from_micros(rng.random_range(least..=most.max(least)));
        if self.spike.0 > 0.0 && rng.random_bool(self.spike.0) { way + self.spike.1 } else { way }
    }

    /// How long the next packet takes with what is lost being sent again.
    pub fn reliable_way(&self, rng: &mut Rng) -> Duration {
        let mut way = self.way(rng);
        for _ in 0..MOST_RETRANSMITS {
            if self.loss <= 0.0 || !rng.random_bool(self.loss) {
                break;
            }
            way += RETRANSMIT;
        }
        way
    }

    /// The mean of both ways together.
    pub fn round_trip(&self) -> Duration {
        self.latency.0 + self.latency.1
    }
}

/// The weather everywhere.
#[derive(Debug, Clone)]
pub struct Sky {
    /// Where nothing else is said.
    pub usual: Weather,
    /// Paths with a weather of their own.
    pub paths: BTreeMap<(Slot, Slot), Weather>,
    /// Paths that nothing comes through, by direction.
    pub cuts: BTreeSet<(Slot, Slot)>,
}

impl Sky {
    /// The weather from one machine to another.
    pub fn between(&self, from: Slot, to: Slot) -> Weather {
        self.paths.get(&(from, to)).copied().unwrap_or(self.usual)
    }

    /// Whether packets come through.
    pub fn is_open(&self, from: Slot, to: Slot) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Everything heals.
    pub fn heal(&mut self) {
        *self = Self::default();
    }
}

impl Default for Sky {
    fn default() -> Self {
        Self { usual: Weather::CALM, paths: BTreeMap::new(), cuts: BTreeSet::new() }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
