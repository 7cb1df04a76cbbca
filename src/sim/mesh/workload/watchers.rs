//! Who watches: remote actors, one after another, each until it ends.

use rand::Rng as _;

use super::actors::{COUNTER, FICKLE};
use super::{Desk, pause};
use crate::mesh::address::Address;
use crate::mesh::handle::Ended;
use crate::sim::mesh::history::Watched;
use crate::world::entropy::Rng;

/// Watches without end.
pub async fn watch_for_ever(desk: Desk, mut rng: Rng) {
    loop {
        pause(&mut rng, 500, 3_000).await;
        let node = desk.somebody(&mut rng);
        let actor = if rng.random_bool(0.6) { COUNTER } else { FICKLE };
        let began = desk.clock.global();
        let watched =
            Watched { from: desk.who.clone(), node: node.clone(), actor: actor.into(), began, ended: Vec::new() };
        let index = desk.write(|history| {
            history.watches.push(watched);
            history.watches.len() - 1
        });
        let ended = desk.mesh.watch(&Address::new(&node, actor)).await;
        let at = desk.clock.global();
        desk.shared.trace.note(format!("{} is told that {actor}@{node} ended: {ended:?}", desk.who.node));
        desk.write(|history| {
            if let Some(watch) = history.watches.get_mut(index) {
                watch.ended.push((at, ended == Ended::Node));
            }
        });
    }
}
