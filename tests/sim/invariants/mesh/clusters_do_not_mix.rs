//! INV-M9: two clusters on one network stay two, even where one remembers addresses of the other.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::mesh::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M9 clusters-do-not-mix",
    meaning: "No connection joins nodes of two clusters, and no node sees a living member that is of another cluster.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    for opened in &history.opened {
        if let Some(shown) = opened.shown.iter().find(|shown| shown.cluster != shown.to_cluster) {
            return Err(format!("at {:?} {} is accepted by another cluster: {shown:?}", opened.at, shown.node));
        }
    }
    let of: BTreeMap<_, _> = history.lives.iter().map(|life| (&life.who.node, life.cluster)).collect();
    for sight in &history.sights {
        let apart = of.get(&sight.by.node) != of.get(&sight.member) && of.contains_key(&sight.member);
        if let (Some(seen), true) = (sight.seen, apart) {
            return Err(format!(
                "at {:?} {} sees {} of another cluster: {seen:?}",
                sight.at, sight.by.node, sight.member
            ));
        }
    }
    Ok(())
}
