//! Figures for `/metrics` and `shoal status`.

use std::time::Duration;

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
}
