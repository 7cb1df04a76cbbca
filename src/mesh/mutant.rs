//! Planted faults, so that the simulator can prove that it would catch them. Without the feature nothing is planted.

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
