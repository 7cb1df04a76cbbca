//! Keeps the members that are wanted, from whatever node leads: the part of an operator, one careful step at a time.

use std::time::Duration;

use super::workload::{Shared, Wanted};
use crate::store::{Error, Replica, Standing, Store};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A learner that lacks fewer entries than this may vote.
pub const NEAR: u64 = 40;

/// A step towards the wanted members.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Add(u64, String),
    Promote(u64),
    Demote(u64),
    Remove(u64),
    HandOver(u64),
}

/// Looks after the members whenever `store` leads.
pub async fn keep(store: Store, shared: Shared, nodes: usize) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !store.leads() {
            continue;
        }
        let wanted: Vec<(usize, Wanted)> = shared.wanted.lock().iter().map(|(slot, one)| (*slot, *one)).collect();
        let successor = shared.successor.lock().take();
        let step = successor.map(Step::HandOver).or_else(|| next(&store.members(), &wanted, nodes));
        let Some(step) = step else { continue };
        let done = take(&store, &step).await;
        shared.trace.note(format!("replica {} as leader: {step:?}: {done:?}", store.raft_id()));
    }
}

async fn take(store: &Store, step: &Step) -> Result<(), Error> {
    match step {
        Step::Add(id, node) => store.add_learner(*id, node).await,
        Step::Promote(id) => store.promote(*id).await,
        Step::Demote(id) => store.demote(*id).await,
        Step::Remove(id) => store.remove(*id).await,
        Step::HandOver(id) => store.hand_over(*id).await,
    }
}

/// What to do next: first who is missing, then who should vote, then who should not, last who is not wanted at all.
fn next(members: &[Replica], wanted: &[(usize, Wanted)], nodes: usize) -> Option<Step> {
    let member = |id: u64| members.iter().find(|member| member.raft_id == id);
    let votes = |id: u64| member(id).is_some_and(|member| member.standing != Standing::Learner);
    let near = |id: u64| member(id).is_some_and(|member| member.lag.is_some_and(|lag| lag < NEAR));
    let missing = wanted.iter().find(|(_, one)| member(one.raft_id).is_none());
    let add = missing.map(|(slot, one)| Step::Add(one.raft_id, format!("n{slot}")));
    let ready = |(_, one): &&(usize, Wanted)| one.votes && !votes(one.raft_id) && near(one.raft_id);
    let promote = wanted.iter().find(ready).map(|(_, one)| Step::Promote(one.raft_id));
    let known = |id: u64| wanted.iter().find(|(_, one)| one.raft_id == id).map(|(_, one)| *one);
    let surplus = members.iter().find(|member| {
        votes(member.raft_id) && known(member.raft_id).is_some_and(|one| !one.votes)
    });
    let complete = wanted.iter().filter(|(_, one)| one.votes).all(|(_, one)| votes(one.raft_id));
    let demote = surplus.filter(|_| complete).map(|surplus| match surplus.standing {
        Standing::Leader => {
            let heir = wanted.iter().find(|(_, one)| one.votes && near(one.raft_id));
            Step::HandOver(heir.map_or(0, |(_, one)| one.raft_id))
        }
        _ => Step::Demote(surplus.raft_id),
    });
    let stranger = members.iter().find(|member| known(member.raft_id).is_none());
    let remove = stranger.filter(|_| wanted.len() == nodes).map(|stranger| Step::Remove(stranger.raft_id));
    remove.or(add).or(promote).or(demote)
}
