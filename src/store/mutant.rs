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

/// Every fault that can be planted between replicas, with what it breaks.
pub const CLUSTER_MUTANTS: &[(&str, &str)] = &[
    ("vote-for-any-log", "a voter grants its vote to a candidate whose log lacks what is committed"),
    ("forget-vote", "a voter forgets on its restart for whom it voted and whom it followed"),
    ("vote-before-durable", "a vote is given before the disk holds it"),
    ("lead-by-old-right", "a leader that starts again leads on without a new term"),
    ("acknowledge-before-durable", "a follower acknowledges entries before its disk holds them"),
    ("tell-before-durable", "a leader calls an entry committed before its own disk holds it"),
    (
        "count-the-unreachable",
        "a replica that did not answer is counted as one that holds the entry: a minority commits",
    ),
    ("match-by-index", "a follower takes entries that follow another one of the same number"),
    ("read-before-applied", "a linearizable read does not wait until its replica has applied what it was told"),
    ("join-a-question-under-way", "a linearizable read takes the answer to a question that was asked before it came"),
    ("apply-out-of-order", "entries that are committed together are applied in another order"),
    ("read-without-index", "a linearizable read asks nobody"),
    ("lead-without-asking", "a leader answers the read index without asking whether it still leads"),
    ("apply-repeats", "a transaction whose answer was lost is applied again when it is asked for again"),
    ("retry-as-new", "a transaction whose answer was lost is asked for again as if it were another one"),
    ("watch-repeats-on-resume", "a watch that is resumed begins with the change seen last"),
    ("watch-skips-on-resume", "a watch that is resumed misses the next revision"),
    ("lose-fences-in-snapshot", "epochs of control actors are missing in a snapshot"),
    ("lose-tickets-in-snapshot", "what became of transactions that may be asked for again is missing in a snapshot"),
    ("lose-history-in-snapshot", "changes that watches may still ask for are missing in a snapshot"),
    ("lose-members-in-snapshot", "members are missing in a snapshot"),
];

/// Every fault that can be planted in a whole node of a cluster, with what it breaks.
pub const NODE_MUTANTS: &[(&str, &str)] = &[
    (
        "hear-the-quorum-always",
        "a node that is cut off takes the quorum for near, and its pods that must not run twice run on",
    ),
    ("stop-too-late", "a node that is cut off stops such pods only when others may already run"),
    ("forget-who-asked", "a leader declares nodes dead without regard to when it last answered them"),
    ("move-within-an-epoch", "a control actor is moved to another node without a new epoch"),
];

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
