//! Randomness.

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// The generator that planners and stampers are handed.
pub type Rng = ChaCha12Rng;

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);

    /// A generator of its own for one actor, seeded from here.
    fn fork(&self) -> Rng {
        let mut seed = [0u8; 32];
        self.fill(&mut seed);
        Rng::from_seed(seed)
    }
}

/// The operating system's source, read through a generator seeded once from it.
pub struct SystemEntropy(Mutex<Rng>);

impl SystemEntropy {
    /// Seeds from the operating system.
    pub fn new() -> Self {
        Self(Mutex::new(Rng::from_os_rng()))
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill_bytes(out);
    }
}

/// A source that one seed decides, for tests and the simulator.
pub struct SeededEntropy(Mutex<Rng>);

impl SeededEntropy {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill_bytes(out);
    }
}
