//! Keeps the members, from whatever node leads. Who votes is the shipped plan's to say; a replica that is not wanted any
//! more, or not yet there, is this operator's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::workload::{Shared, Wanted};
use crate::mesh::handle::Mesh;
use crate::mesh::member::Life;
use crate::model::NodeId;
use crate::plan::quorum::{self, Health, Step as Planned, Terms};
use crate::sim::mesh::net::Slot;
use crate::store::{Error, Standing, Store};
use crate::world::World;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A replica that lacks fewer entries than this holds nearly everything.
pub const NEAR: u64 = 40;
/// Short, so that a run sees voters replaced.
pub const TERMS: Terms = Terms { voters_max: 5, replace_after: Duration::from_secs(8) };

/// A step towards the wanted members.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Add(u64, String),
    Vote(BTreeSet<u64>),
    Remove(u64),
    HandOver(u64),
}

/// Whoever keeps the members whenever its store leads.
pub struct Keeper {
    /// Its store.
    pub store: Store,
    /// Its mesh.
    pub mesh: Mesh,
    /// Its clock.
    pub world: World,
    /// What all share.
    pub shared: Shared,
    /// Whether it also says who votes.
    pub plans: bool,
}

impl Keeper {
    /// Keeps without end.
    pub async fn keep(self) {
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.store.leads() {
                since = Instant::now();
                continue;
            }
            let wanted = self.shared.wanted.lock().clone();
            let successor = self.shared.successor.lock().take();
            let step = successor.map(Step::HandOver).or_else(|| self.next(&wanted, since));
            let Some(step) = step else { continue };
            let done = self.take(&step).await;
            self.shared.trace.note(format!("replica {} as leader: {step:?}: {done:?}", self.store.raft_id()));
        }
    }

    async fn take(&self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Add(id, node) => self.store.add_learner(*id, node).await,
            Step::Vote(voters) => self.store.set_voters(voters.clone()).await,
            Step::Remove(id) => self.store.remove(*id).await,
            Step::HandOver(id) => self.store.hand_over(*id).await,
        }
    }

    /// First who is not wanted, then who is missing, then what the plan says.
    fn next(&self, wanted: &BTreeMap<Slot, Wanted>, since: Instant) -> Option<Step> {
        let members = self.store.members();
        let known = |id: u64| wanted.values().any(|one| one.raft_id == id);
        if let Some(stranger) = members.iter().find(|member| !known(member.raft_id)) {
            return Some(Step::Remove(stranger.raft_id));
        }
        let there = |id: u64| members.iter().any(|member| member.raft_id == id);
        if let Some((slot, one)) = wanted.iter().find(|(_, one)| !there(one.raft_id)) {
            return Some(Step::Add(one.raft_id, format!("n{slot}")));
        }
        if !self.plans {
            return None;
        }
        let replicas: Vec<quorum::Replica> = members.iter().map(|member| self.replica(member, wanted, since)).collect();
        match quorum::next(&replicas, &TERMS)? {
            // Everybody holds the key here.
            Planned::Entrust(_) => None,
            Planned::Vote(voters) => Some(Step::Vote(voters)),
            Planned::HandOver(id) => Some(Step::HandOver(id)),
        }
    }

    fn replica(
        &self,
        member: &crate::store::Replica,
        wanted: &BTreeMap<Slot, Wanted>,
        since: Instant,
    ) -> quorum::Replica {
        let view = self.mesh.view();
        let view = view.borrow();
        let seen = view.members.get(&NodeId(member.node.as_str().into()));
        let leads = member.raft_id == self.store.raft_id();
        let health = match seen.map(|seen| (seen.life, seen.since)) {
            _ if wanted.values().any(|one| one.raft_id == member.raft_id && one.leaving) => Health::Leaving,
            _ if leads => Health::Well,
            Some((Life::Alive, _)) => Health::Well,
            Some((_, from)) => Health::Silent(self.world.clock.now().since(from)),
            None => Health::Silent(since.elapsed()),
        };
        quorum::Replica {
            id: member.raft_id,
            node: member.node.clone(),
            zone: String::new(),
            votes: member.standing != Standing::Learner,
            leads,
            entrusted: true,
            lag: member.lag.unwrap_or(u64::MAX),
            health,
        }
    }
}
