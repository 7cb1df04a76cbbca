//! Asks a node again and again who leads.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Shared;
use crate::cli::actors::QUORUM;
use crate::cli::chaos::door::Door;

/// How often a node is asked.
const EVERY: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks a node for as long as the run goes on.
pub async fn observe(shared: Arc<Shared>, node: usize) {
    let Some(door) = shared.doors.get(node) else { return };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.recorder.is_full() {
        ticks.tick().await;
        if let Some((term, leader)) = ask(door).await {
            shared.recorder.led(node, term, leader);
        }
    }
}

/// Term and leader, as a node tells them.
pub async fn ask(door: &Door) -> Option<(u64, Option<String>)> {
    let said = timeout(PATIENCE, door.get(QUORUM)).await.ok()?.ok()?;
    let leader = said.get("leader").and_then(Value::as_str).map(String::from);
    Some((said.get("term").and_then(Value::as_u64)?, leader))
}
