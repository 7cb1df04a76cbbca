//! Figures for `/metrics` and `shoal status`.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Syncs are of late for so long.
pub const RECENT: Duration = Duration::from_secs(10);
/// Syncs of late that are remembered, at most; older ones give way.
pub const RECENT_SYNCS: usize = 128;

/// Upper bounds of the sync latency buckets, in microseconds; slower ones fall into the last, unbounded bucket.
pub const BUCKETS_US: [u64; 12] = [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 204_800, 1_000_000];

/// How long syncs took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// Syncs per bucket of [`BUCKETS_US`], then those above.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// All syncs.
    pub count: u64,
    /// Time of all syncs together.
    pub total: Duration,
    /// The last one.
    pub last: Duration,
}

impl Latency {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BUCKETS_US.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.count += 1;
        self.total += took;
        self.last = took;
    }

    /// Upper bound of the bucket that holds the `quantile` (0 to 1); zero where nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Duration {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (self.count as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (count, bound) in self.buckets.iter().zip(BUCKETS_US) {
            seen += count;
            if seen >= rank && rank > 0 {
                return Duration::from_micros(bound);
            }
        }
        if rank == 0 { Duration::ZERO } else { Duration::MAX }
    }
}

/// How long the syncs of late took.
#[derive(Debug, Default)]
pub struct Recent {
    /// When each ended, and how long it took; oldest first.
    ended: VecDeque<(Instant, Duration)>,
    /// When the one that runs began.
    began: Option<Instant>,
}

impl Recent {
    /// One begins.
    pub fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// It ends.
    pub fn end(&mut self, now: Instant) {
        let Some(began) = self.began.take() else { return };
        if self.ended.len() == RECENT_SYNCS {
            self.ended.pop_front();
        }
        self.ended.push_back((now, now.saturating_duration_since(began)));
    }

    /// The 99th percentile of those that ended within [`RECENT`]; more where the one that runs has taken longer by now. Zero
    /// where nothing was written.
    pub fn p99(&self, now: Instant) -> Duration {
        let recent = self.ended.iter().filter(|(at, _)| now.saturating_duration_since(*at) <= RECENT);
        let mut took: Vec<Duration> = recent.map(|(_, took)| *took).collect();
        took.sort_unstable();
        let slowest = took.len() / 100;
        let p99 = took.iter().rev().nth(slowest).copied().unwrap_or_default();
        let running = self.began.map(|began| now.saturating_duration_since(began));
        p99.max(running.unwrap_or_default())
    }
}

/// What the store knows about itself.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Newest applied revision.
    pub revision: u64,
    /// Oldest revision that can be read.
    pub compacted: u64,
    /// Objects that exist.
    pub objects: usize,
    /// Changes retained for watches.
    pub history_changes: usize,
    /// Bytes that they hold, about.
    pub history_bytes: u64,
    /// Bytes of log on disk.
    pub log_bytes: u64,
    /// Raft's term.
    pub term: u64,
    /// Whether this node leads.
    pub leads: bool,
    /// Whether only reads and deletes are taken, for want of disk.
    pub disk_full: bool,
    /// How long syncs took.
    pub sync: Latency,
    /// The 99th percentile of the syncs of late ([`RECENT`]), or how long the one that runs has taken, if that is more.
    pub sync_recent_p99: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_of_late_are_those_of_the_window_and_the_one_that_runs() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut recent = Recent::default();
        assert_eq!(recent.p99(start), Duration::ZERO);
        recent.begin(at(0));
        recent.end(at(700));
        assert_eq!(recent.p99(at(800)), Duration::from_millis(700));
        for n in 0..100 {
            recent.begin(at(1000 + n));
            recent.end(at(1001 + n));
        }
        assert_eq!(recent.p99(at(1200)), Duration::from_millis(1), "one of a hundred may be slow");
        recent.begin(at(2000));
        assert_eq!(recent.p99(at(5000)), Duration::from_secs(3), "a stall shows while it lasts");
        recent.end(at(5000));
        assert_eq!(recent.p99(at(11_200)), Duration::from_secs(3), "the rest is forgotten");
        assert_eq!(recent.p99(at(15_001)), Duration::ZERO);
    }
}
