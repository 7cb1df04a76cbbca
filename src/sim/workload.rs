//! What the simulated users do: write keys of their own, count together, deploy, scale, roll and delete.
//!
//! Rooms: `keys` writes that are checked one by one; `counter` lost updates; `deploy` sets of pods; `fence` a control
//! actor that moved.

pub mod counter;
pub mod deploy;
pub mod fence;
pub mod keys;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;

use super::client::Client;
use super::history::History;
use super::trace::Trace;
use crate::store::Store;
use crate::world::entropy::Rng;

/// Namespace that the workload lives in.
pub const NAMESPACE: &str = "sim";

/// What every simulated user is given for one life of the node.
#[derive(Clone)]
pub struct User {
    /// The API.
    pub client: Client,
    /// The store below, for what only an operator does.
    pub store: Store,
    /// Where it writes down what it was told.
    pub history: Arc<Mutex<History>>,
    /// Where it says what it does.
    pub trace: Trace,
}

/// Waits for a random while.
pub async fn pause(rng: &mut Rng, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(1..=most_ms))).await;
}
