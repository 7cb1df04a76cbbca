//! INV-C9: reads and writes through any node are as if there were one copy.

use super::Invariant;
use crate::sim::cluster::history::History;
use crate::sim::cluster::linear;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-C9 operations-are-linearizable",
    meaning: "For each key there is an order of all operations that explains every answer and respects who came before whom.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let judgement = linear::judge(history);
    let first = judgement.impossible.first();
    first.map_or(Ok(()), |(key, operation)| Err(format!("no order of the operations on {key} explains {operation:?}")))
}
