//! Wall-clock time.

use crate::model::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this file owns the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::default() + since
    }
}

/// Virtual time: an origin plus what the tokio clock has advanced, so that a paused runtime moves both together.
#[derive(Debug)]
pub struct VirtualClock {
    origin: Timestamp,
    started: tokio::time::Instant,
}

impl VirtualClock {
    /// Starts at `origin`; call inside the runtime whose time it follows.
    pub fn starting_at(origin: Timestamp) -> Self {
        Self { origin, started: tokio::time::Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.origin + self.started.elapsed()
    }
}
