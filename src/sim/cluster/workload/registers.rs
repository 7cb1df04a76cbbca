//! Clients that read, write, compare-and-swap and delete a few registers through their own node.

use rand::Rng as _;

use super::{User, pause, value_of};
use crate::model::ObjectKey;
use crate::sim::cluster::history::Ask;
use crate::world::entropy::Rng;

/// Registers that all clients share.
const REGISTERS: u32 = 8;
/// Longest wait between two operations of a client, in milliseconds.
const PAUSE_MS: u64 = 300;

/// Operates without end.
pub async fn operate_for_ever(user: User, mut rng: Rng) {
    while !user.shared.is_quiet() {
        pause(&mut rng, 5, PAUSE_MS).await;
        let key = format!("r{}", rng.random_range(0..REGISTERS));
        let ask = match rng.random_range(0..100) {
            0..45 => Ask::Read,
            45..75 => Ask::Write(Some(user.shared.fresh())),
            75..82 => Ask::Write(None),
            _ => {
                let record = user.store.get(&ObjectKey::new(super::REGISTERS, "", &key));
                let expected = record.and_then(|record| value_of(&record.value));
                Ask::Swap { expected, new: user.shared.fresh() }
            }
        };
        user.operate(&key, ask, None).await;
    }
}
