//! The watch of a remote actor, over connections that come and go.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Ended;
use crate::mesh::address::Address;
use crate::mesh::links::{Links, WatchOutcome};
use crate::mesh::member::{Life, SharedView};
use crate::model::NodeId;

/// A node that gossip does not know counts as ended when it has not been reached for this long.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// Pause before the actor is watched again over a new connection.
pub const WATCH_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Waits for the end of `actor` or its node.
pub async fn watch(links: &Links, mut view: watch::Receiver<SharedView>, actor: &Address) -> Ended {
    let known = generation_in(&view, &actor.node);
    let follow = follow(links, view.clone(), actor);
    tokio::select! {
        biased;
        () = node_ends(&mut view, &actor.node, known) => Ended::Node,
        ended = follow => ended,
    }
}

fn generation_in(view: &watch::Receiver<SharedView>, node: &NodeId) -> Option<u64> {
    view.borrow().members.get(node).map(|member| member.generation)
}

/// Waits until gossip tells that the node has ended. A node that gossip forgets is left to [`follow`].
async fn node_ends(view: &mut watch::Receiver<SharedView>, node: &NodeId, mut generation: Option<u64>) {
    loop {
        if let Some(member) = view.borrow_and_update().members.get(node) {
            let same = *generation.get_or_insert(member.generation) == member.generation;
            if !same || matches!(member.life, Life::Dead | Life::Left) {
                return;
            }
        }
        if view.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Watches over one connection after another.
async fn follow(links: &Links, view: watch::Receiver<SharedView>, actor: &Address) -> Ended {
    let mut generation = generation_in(&view, &actor.node);
    let mut missed_since: Option<Instant> = None;
    loop {
        match links.watch(&actor.node, &actor.actor, &mut generation).await {
            WatchOutcome::Gone => return Ended::Actor,
            WatchOutcome::Restarted => return Ended::Node,
            WatchOutcome::Refused => missed_since = None,
            WatchOutcome::Lost => missed_since = Some(Instant::now()),
            WatchOutcome::Unreachable => {
                missed_since.get_or_insert_with(Instant::now);
            }
        }
        let unknown = generation_in(&view, &actor.node).is_none();
        if unknown && missed_since.is_some_and(|since| since.elapsed() >= UNKNOWN_FOR) {
            return Ended::Node;
        }
        tokio::time::sleep(WATCH_AGAIN_AFTER).await;
    }
}
