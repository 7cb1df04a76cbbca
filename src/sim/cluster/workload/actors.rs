//! Control actors: on each node a candidate for each, who takes the place of the last one by raising its epoch, works
//! under it until it is refused, and sometimes far too long.

use rand::Rng as _;

use super::{User, pause, value_of};
use crate::model::{Epoch, ObjectKey};
use crate::sim::cluster::history::{Answer, Ask};
use crate::store::Fence;
use crate::world::entropy::Rng;

/// A control actor.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// Its name.
    pub name: &'static str,
    /// Longest time until a node takes it over again, in milliseconds.
    rest_ms: u64,
    /// Longest time between two of its writes, in milliseconds.
    pace_ms: u64,
}

/// The actors. Of the slow one a holder is often stale for long before it writes, and a new one has not written yet.
pub const ACTORS: [Actor; 3] = [
    Actor { name: "scheduler", rest_ms: 12_000, pace_ms: 400 },
    Actor { name: "issuer", rest_ms: 12_000, pace_ms: 400 },
    Actor { name: "janitor", rest_ms: 30_000, pace_ms: 8_000 },
];
/// Of a lease's or a work's value, what is below this is its machine; what is above, the epoch.
pub const MACHINES: u64 = 100;

/// Takes over, works, and does so again.
pub async fn take_turns(user: User, actor: Actor, mut rng: Rng) {
    let Actor { name: actor, rest_ms, pace_ms } = actor;
    let (lease, work) = (format!("lease-{actor}"), format!("work-{actor}"));
    while !user.shared.is_quiet() {
        pause(&mut rng, 500, rest_ms).await;
        let Some(epoch) = take_over(&user, &lease).await else { continue };
        user.shared.trace.note(format!("n{} is the {actor} of epoch {epoch}", user.slot));
        let mine = epoch * MACHINES + user.slot as u64;
        for _ in 0..rng.random_range(1..40) {
            let fence = Fence { actor: actor.into(), epoch: Epoch(epoch) };
            match user.operate(&work, Ask::Write(Some(mine)), Some(fence)).await {
                // It would end here; a slow one goes on, and the store must refuse it.
                Answer::Not if rng.random_bool(0.5) => break,
                _ => pause(&mut rng, 20, pace_ms).await,
            }
        }
    }
}

/// The epoch that is this node's now.
async fn take_over(user: &User, lease: &str) -> Option<u64> {
    user.store.barrier().await.ok()?;
    let record = user.store.get(&ObjectKey::new(super::REGISTERS, "", lease));
    let before = record.and_then(|record| value_of(&record.value));
    let epoch = before.unwrap_or(0) / MACHINES + 1;
    let new = epoch * MACHINES + user.slot as u64;
    let taken = user.operate(lease, Ask::Swap { expected: before, new }, None).await;
    matches!(taken, Answer::Done(_)).then_some(epoch)
}
