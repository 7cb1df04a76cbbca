//! Virtual time that many machines share: one central hand, and for each machine a wall clock that may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Timestamp;
use crate::world::clock::Clock;

/// Time since the run began, by nobody's clock but the simulator's.
pub type At = Duration;

/// When simulated time begins: 2026-01-01T00:00:00Z.
pub const ORIGIN: Timestamp = Timestamp(1_767_225_600_000_000);

/// The central hand: where the slice of time begins that machines run now. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hand(Arc<AtomicU64>);

impl Hand {
    /// Now.
    pub fn at(&self) -> At {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    /// Moves on.
    pub fn set(&self, at: At) {
        self.0.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        ORIGIN + self.at()
    }
}

/// The wall clock of one machine: offset and drifting, but its waits are of the right length.
pub struct NodeClock {
    hand: Hand,
    offset_us: AtomicI64,
    drift_ppm: i64,
    /// The instant of the machine's runtime at which it began, and the run's time then.
    began: Mutex<Option<(Instant, At)>>,
}

impl NodeClock {
    /// A clock that is `offset_us` ahead and gains `drift_ppm` microseconds a second.
    pub fn new(hand: Hand, offset_us: i64, drift_ppm: i64) -> Self {
        Self { hand, offset_us: AtomicI64::new(offset_us), drift_ppm, began: Mutex::new(None) }
    }

    /// A life begins: call inside the machine's runtime.
    pub fn begin(&self, at: At) {
        *self.began.lock() = Some((Instant::now(), at));
    }

    /// The run's time as code inside the machine's runtime experiences it; outside of any, the central hand.
    pub fn global(&self) -> At {
        let inside = tokio::runtime::Handle::try_current().is_ok();
        match (*self.began.lock(), inside) {
            (Some((instant, at)), true) => at + instant.elapsed(),
            _ => self.hand.at(),
        }
    }

    /// The instant of the machine's runtime that is the run's `at`.
    pub fn instant(&self, at: At) -> Option<Instant> {
        let (instant, began) = (*self.began.lock())?;
        Some(instant + at.saturating_sub(began))
    }

    /// What the machine's clock shows at the run's time `at`.
    pub fn shows(&self, at: At) -> Timestamp {
        let passed = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
        let gained = passed.saturating_mul(self.drift_ppm) / 1_000_000;
        Timestamp(ORIGIN.0 + self.offset_us.load(Ordering::Relaxed) + passed + gained)
    }

    /// How far the clock is from the run's time at `at`, in microseconds.
    pub fn wrong_by_us(&self, at: At) -> i64 {
        self.shows(at).0 - (ORIGIN + at).0
    }

    /// Somebody sets the clock.
    pub fn set_offset(&self, offset_us: i64) {
        self.offset_us.store(offset_us, Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        self.shows(self.global())
    }
}
