//! INV-M8: a join token lets in as many nodes as it says, while it lasts, and nobody without its secret.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::mesh::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M8 tokens-are-counted",
    meaning: "A token admits at most its number of nodes, never after its end, never without its secret.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    let mut admitted: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for join in history.joins.iter().filter(|join| join.granted) {
        if !join.genuine {
            return Err(format!("{} is let in without the secret: {join:?}", join.node));
        }
        if join.clock > join.expires {
            return Err(format!("{} is let in with a token that is over: {join:?}", join.node));
        }
        let by = admitted.entry(join.token).or_default();
        by.push((&join.node, join.key));
        if by.len() > join.uses as usize {
            return Err(format!("token {} for {} has let in {by:?}", join.token, join.uses));
        }
    }
    Ok(())
}
