//! Reads that another voter asks of the leader: that it asks is its confirmation that this node leads.
//!
//! A linearizable read needs a majority that, after the read began, had not elected anybody else. A voter that asks says
//! whom it follows at that moment; where it and the leader are a majority by themselves, as in a cluster of three, nobody else
//! is asked. What it says is read from its log, where a vote is noted before it is given, so that it never follows one leader
//! having helped to elect another.

use std::collections::BTreeSet;

use openraft::{ServerState, Vote};
use serde::{Deserialize, Serialize};

use super::{Consensus, revision_of};
use crate::model::Revision;

/// Whom a replica follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// The replica's number.
    pub id: u64,
    /// Its vote, which is for a leader.
    pub vote: Vote<u64>,
}

impl Consensus {
    /// Whom this replica follows now; `None` where it helped to elect somebody it has not heard from yet.
    pub fn follows(&self) -> Option<Follows> {
        let vote = self.wire.log.vote().filter(|vote| vote.committed)?;
        Some(Follows { id: self.id, vote })
    }

    /// What is committed, where this node leads and replica `asker` on `node` is a majority with it; `None` where others must
    /// be asked.
    pub async fn confirmed_by(&self, asker: Follows, node: &str) -> Option<Revision> {
        let (own, node, leader) = (self.id, node.to_owned(), asker.vote.leader_id);
        let pair = move |voters: &BTreeSet<u64>| {
            own != asker.id && voters.contains(&own) && voters.contains(&asker.id) && voters.len() <= 3
        };
        let state = self.raft.with_raft_state(move |state| {
            let leads = state.server_state == ServerState::Leader && *state.vote_ref() == asker.vote;
            let members = state.membership_state.effective().membership();
            let named = members.get_node(&asker.id).is_some_and(|peer| peer.node == node);
            // A leader knows what is committed once something of its own term is.
            let own_term = |entry: &super::LogId| {
                (entry.leader_id.term, entry.leader_id.node_id) == (leader.term, leader.node_id)
                    && leader.node_id == own
            };
            let confirmed = leads && named && members.get_joint_config().iter().all(pair);
            state.committed.filter(|entry| confirmed && own_term(entry))
        });
        state.await.ok().flatten().map(|committed| revision_of(&committed))
    }
}
