//! Planted faults, so that tests and the simulator can prove that they would catch them. Without the feature nothing is
//! planted.

/// Every fault that can be planted in the mesh, with what it breaks.
pub const MUTANTS: &[(&str, &str)] = &[
    ("accept-expired", "a certificate is taken after its end"),
    ("ignore-revocation", "a removed node's certificate is still taken"),
    ("token-use-not-counted", "a join token with one use left can be used again"),
    ("sign-any-name", "the authority signs for names that the node may not have"),
    ("retry-after-send", "a call whose answer did not come is sent again"),
    ("lose-call-on-disconnect", "a call whose connection ends is never told"),
    ("wrong-id", "an answer is taken as that of another call"),
    ("handle-twice", "a request is handed to its actor twice"),
    ("revive-tombstone", "an older start of a node is believed after a newer one or its end"),
    ("no-local-health", "a node that was paused does not notice, and declares others dead at once"),
    ("suspect-is-dead", "a member is declared dead as soon as it is suspect"),
    ("forget-refute", "a node does not answer a suspicion about itself"),
];

#[cfg(feature = "mutants")]
static CHOSEN: std::sync::LazyLock<parking_lot::RwLock<Option<String>>> =
    std::sync::LazyLock::new(|| parking_lot::RwLock::new(std::env::var("SHOAL_MUTANT").ok()));

#[cfg(feature = "mutants")]
thread_local! {
    static HERE: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Chooses the fault to plant in this process instead of the one that `SHOAL_MUTANT` named; `None` plants nothing.
#[cfg(feature = "mutants")]
pub fn choose(name: Option<&str>) {
    *CHOSEN.write() = name.map(str::to_owned);
}

/// Plants `name` for what `work` does on this thread, whatever the process has chosen.
#[cfg(feature = "mutants")]
pub fn planted<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let before = HERE.replace(Some(name.to_owned()));
    let result = work();
    HERE.set(before);
    result
}

/// Whether the fault `name` is planted.
#[cfg(feature = "mutants")]
pub fn mutant(name: &str) -> bool {
    HERE.with_borrow(|here| here.as_deref() == Some(name)) || CHOSEN.read().as_deref() == Some(name)
}

/// Whether the fault `name` is planted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn mutant(_name: &str) -> bool {
    false
}
