//! Planted faults of the mesh, so that the simulator can prove that it would catch them. Without the feature nothing is
//! planted.

/// Every fault that can be planted in membership, with what it breaks.
pub const MUTANTS: [(&str, &str); 4] = [
    ("revive-tombstone", "an older start of a node is believed after a newer one or its end"),
    ("no-local-health", "a node that was paused does not notice, and declares others dead at once"),
    ("suspect-is-dead", "a member is declared dead as soon as it is suspect"),
    ("forget-refute", "a node does not answer a suspicion about itself"),
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
