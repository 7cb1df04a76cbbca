//! Planted faults, so that the simulator can prove that it would catch them. Without the feature nothing is planted.

/// Every fault that can be planted in the store, with what it breaks.
pub const MUTANTS: [(&str, &str); 9] = [
    ("skip-fsync", "a commit is written but never made durable"),
    ("answer-before-durable", "a commit is answered before its entry is durable"),
    ("drop-event-at-compaction", "a watch that starts at the compacted revision misses the first change"),
    ("reuse-revision-after-restart", "revisions restart below those handed out before"),
    ("accept-torn-tail", "a torn unit is taken as data"),
    ("lose-tombstone-on-restart", "an object deleted in retained history is back after a restart"),
    ("compact-live-version", "compaction drops the version that is still current"),
    ("ignore-compare", "a compare-and-swap never fails"),
    ("ignore-fence", "a stale epoch is not refused"),
];

/// Faults that show only where a write is asked for more than once, which needs another node.
pub const ONCE_MUTANTS: [(&str, &str); 1] =
    [("apply-repeats", "a transaction whose answer was lost is applied again when it is asked for again")];

#[cfg(feature = "mutants")]
static CHOSEN: std::sync::LazyLock<parking_lot::RwLock<Option<String>>> =
    std::sync::LazyLock::new(|| parking_lot::RwLock::new(std::env::var("SHOAL_MUTANT").ok()));

/// Chooses the fault to plant in this process instead of the one that `SHOAL_MUTANT` named; `None` plants nothing.
#[cfg(feature = "mutants")]
pub fn choose(name: Option<&str>) {
    *CHOSEN.write() = name.map(str::to_owned);
}

/// Whether the fault `name` is planted.
#[cfg(feature = "mutants")]
pub fn mutant(name: &str) -> bool {
    CHOSEN.read().as_deref() == Some(name)
}

/// Whether the fault `name` is planted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn mutant(_name: &str) -> bool {
    false
}

/// Index of the last log entry that was there at the last start of a store in this process.
#[cfg(feature = "mutants")]
static BEFORE_START: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Remembers [`last_before_start`].
#[cfg(feature = "mutants")]
pub fn starts_after(index: u64) {
    BEFORE_START.store(index, std::sync::atomic::Ordering::Relaxed);
}

/// What [`starts_after`] was told.
#[cfg(feature = "mutants")]
pub fn last_before_start() -> u64 {
    BEFORE_START.load(std::sync::atomic::Ordering::Relaxed)
}

/// Nothing, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn starts_after(_index: u64) {}

/// Nothing, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn last_before_start() -> u64 {
    0
}
