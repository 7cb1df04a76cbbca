//! The outside, as traits: clock, randomness, disk. Each real implementation is the one file that may touch its source;
//! the simulator brings its own. Waiting uses `tokio::time`, which the simulator runs on virtual time.

pub mod clock;
pub mod disk;
pub mod entropy;

use std::sync::Arc;

/// What a node is given of the outside. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Wall-clock time.
    pub clock: Arc<dyn clock::Clock>,
    /// Randomness.
    pub entropy: Arc<dyn entropy::Entropy>,
    /// Files of the store.
    pub disk: Arc<dyn disk::Disk>,
}
