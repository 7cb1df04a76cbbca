//! How long certificates live, and when one is renewed.

use std::time::Duration;

use super::DAY;
use crate::model::Timestamp;

/// Share of a certificate's life over which renewals are spread, so that nodes started together do not ask together.
const SPREAD: f64 = 0.1;

/// How long certificates live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lifetimes {
    /// A node's.
    pub node: Duration,
    /// The administrator's.
    pub admin: Duration,
    /// A certificate with this share of its life left is renewed; between 0 and 1.
    pub renew_fraction: f64,
}

impl Lifetimes {
    /// The longest of them: what was made longer ago has ended.
    pub fn longest(&self) -> Duration {
        self.node.max(self.admin)
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { node: DAY, admin: DAY.saturating_mul(365), renew_fraction: 1.0 / 3.0 }
    }
}

/// When a certificate is renewed: when `fraction` of its life is left, or up to a tenth of its life earlier as `jitter`
/// (0 to 1) says; never before `now`. Draw the jitter once a certificate, else the answer moves.
pub fn renewal_due(
    not_before: Timestamp,
    not_after: Timestamp,
    fraction: f64,
    now: Timestamp,
    jitter: f64,
) -> Timestamp {
    let life = not_after.since(not_before);
    let left = life.mul_f64((fraction.clamp(0.0, 1.0) + SPREAD * jitter.clamp(0.0, 1.0)).min(1.0));
    (not_before + life.saturating_sub(left)).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_790_000_000_000_000);

    #[test]
    fn a_certificate_is_renewed_when_a_third_is_left_or_a_tenth_earlier_or_at_once_when_late() {
        let end = START + DAY;
        let due = |now, jitter| renewal_due(START, end, 1.0 / 3.0, now, jitter);
        let hours = |at: Timestamp| at.since(START).as_secs_f64() / 3600.0;
        assert!((hours(due(START, 0.0)) - 16.0).abs() < 0.001);
        assert!((hours(due(START, 1.0)) - 13.6).abs() < 0.001);
        assert_eq!(due(end, 0.5), end);
        assert_eq!(renewal_due(START, START, 0.3, START, 0.3), START, "a life of nothing");
        assert_eq!(renewal_due(START, end, 7.0, START, 9.0), START, "nonsense renews at once, without panic");
    }
}
