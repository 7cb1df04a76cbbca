//! A control actor that moved: the old one, whose epoch has passed, must not be able to write any more.

use std::time::Duration;

use super::User;
use crate::model::{Epoch, ObjectKey, ResourceId};
use crate::store::{Action, Error, Expect, Fence, Op, Txn};
use crate::world::entropy::Rng;

const KEYS: ResourceId = ResourceId::new("sim.shoal.local", "fences");

/// Moves again and again; each time the actor before tries once more.
pub async fn move_for_ever(user: User, mut rng: Rng) {
    loop {
        super::pause(&mut rng, 3_000).await;
        let before = user.history.lock().epoch;
        let (old, new) = (Epoch(before), Epoch(before + 1));
        if write(&user, new).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        user.history.lock().epoch = new.0;
        let stale = write(&user, old).await;
        user.trace.note(format!("epoch {} after {}: {stale:?}", old.0, new.0));
        if stale.is_ok() {
            user.history.lock().stale_writes.push(old.0);
        }
    }
}

async fn write(user: &User, epoch: Epoch) -> Result<(), Error> {
    let op = Op { key: ObjectKey::new(KEYS, "", "sim"), expect: Expect::Any, action: Action::Check };
    let fence = Some(Fence { actor: "sim".into(), epoch });
    user.store.commit(Txn { ops: vec![op], fence, cause: 0 }).await.map(drop)
}
