//! Back-off as Kubernetes counts it: 10 s, doubling to 5 min, forgotten after 10 quiet minutes.

use std::time::Duration;

use crate::model::Timestamp;

/// First delay (kubelet's `backOffPeriod`).
pub const FIRST: Duration = Duration::from_secs(10);
/// Longest delay (kubelet's `MaxContainerBackOff`).
pub const LONGEST: Duration = Duration::from_mins(5);
/// A quiet time after which the count starts again.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// A counter of failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    /// The delay that the next try keeps from the last failure.
    pub delay: Duration,
    /// When the delay was last raised.
    pub raised_at: Option<Timestamp>,
}

impl Backoff {
    /// No failure yet.
    pub const NEW: Self = Self { delay: Duration::ZERO, raised_at: None };

    /// When a try may follow a failure at `failed_at`; `None`: at once.
    pub fn until(&self, failed_at: Timestamp) -> Option<Timestamp> {
        let raised_at = self.raised_at?;
        (failed_at.since(raised_at) <= FORGET_AFTER).then(|| failed_at + self.delay)
    }

    /// The counter once a try follows a failure at `failed_at`.
    #[must_use]
    pub fn raised(self, failed_at: Timestamp, now: Timestamp) -> Self {
        let delay = match self.raised_at {
            Some(raised_at) if failed_at.since(raised_at) <= FORGET_AFTER => (self.delay * 2).clamp(FIRST, LONGEST),
            _ => FIRST,
        };
        Self { delay, raised_at: Some(now) }
    }
}

/// A duration as Go prints it, in whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}
