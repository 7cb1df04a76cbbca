//! Watches that go on from node to node, from the last revision that was delivered.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, timeout_at};

use super::{REGISTERS, User, pause};
use crate::model::{Revision, Scope};
use crate::sim::cluster::history::Followed;
use crate::store::{ChangeKind, Error};
use crate::world::entropy::Rng;

/// Watches that are followed in a run.
pub const FOLLOWERS: usize = 3;

/// Follows the watch with this number whenever it is this node's turn.
pub async fn follow_for_ever(user: User, number: usize, mut rng: Rng) {
    loop {
        if user.shared.followed_on.lock().get(number) != Some(&user.slot) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let until = Instant::now() + Duration::from_millis(rng.random_range(300..4_000));
        follow(&user, number, until).await;
        let next = rng.random_range(0..user.nodes);
        if !user.shared.is_quiet() {
            hand_on(&user, number, next);
        }
        pause(&mut rng, 1, 50).await;
    }
}

fn hand_on(user: &User, number: usize, next: usize) {
    if let Some(on) = user.shared.followed_on.lock().get_mut(number) {
        *on = next;
    }
}

async fn follow(user: &User, number: usize, until: Instant) {
    let scope = || Scope::resource(REGISTERS, None);
    let position = with(user, number, |followed| followed.reached.last().copied());
    let Some(from) = position.or_else(|| list(user, number)) else { return };
    let mut watch = match user.store.watch(scope(), Revision(from)) {
        Ok(watch) => watch,
        Err(error) => return refused(user, number, from, &error),
    };
    with(user, number, |followed| followed.moves += 1);
    user.shared.trace.note(format!("watch {number} goes on at n{} from {from}", user.slot));
    while let Ok(next) = timeout_at(until, watch.next()).await {
        match next {
            Ok(batch) => with(user, number, |followed| {
                let list = followed.lists.len().saturating_sub(1);
                let events = batch.changes.iter().map(|change| {
                    (list, change.revision().0, change.record.key.name.to_string(), change.kind != ChangeKind::Deleted)
                });
                followed.events.extend(events);
                if let Some(reached) = followed.reached.last_mut() {
                    *reached = batch.revision.0;
                }
            }),
            Err(error) => return refused(user, number, from, &error),
        }
    }
}

/// Begins anew with a list; gives its revision.
fn list(user: &User, number: usize) -> Option<u64> {
    let page = user.store.list(&Scope::resource(REGISTERS, None), None, None, 0).ok()?;
    with(user, number, |followed| {
        followed.lists.push(page.revision.0);
        followed.reached.push(page.revision.0);
    });
    Some(page.revision.0)
}

fn refused(user: &User, number: usize, from: u64, error: &Error) {
    user.shared.trace.note(format!("watch {number} from {from} at n{}: {error}", user.slot));
    if matches!(error, Error::Compacted { .. }) {
        list(user, number);
    }
}

fn with<T>(user: &User, number: usize, act: impl FnOnce(&mut Followed) -> T) -> T {
    let mut history = user.shared.history.lock();
    while history.followers.len() <= number {
        history.followers.push(Followed::default());
    }
    let last = history.followers.len().saturating_sub(1);
    #[allow(clippy::indexing_slicing, reason = "made above where it was missing")]
    act(&mut history.followers[number.min(last)])
}
