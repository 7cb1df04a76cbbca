//! Who is in the cluster: voters, learners, and how far each has come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};

use super::peers::{Asker, Removal};
use super::{Consensus, Peer};
use crate::model::Revision;
use crate::store::Error;

/// Times that a change of members is tried while another is under way.
const ATTEMPTS: u32 = 50;
/// Wait between two of those.
const ATTEMPT_EVERY: Duration = Duration::from_millis(20);

/// What a replica is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It votes, and leads now.
    Leader,
    /// It votes.
    Voter,
    /// It follows the log and does not vote; also one that nobody has added yet.
    Learner,
}

/// A replica, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its number in the log's membership.
    pub raft_id: u64,
    /// Its node's name.
    pub node: String,
    /// What it is.
    pub standing: Standing,
    /// The last entry that it is known to hold; known to the leader only.
    pub matched: Option<Revision>,
    /// Entries of the leader's log that it is not known to hold; known to the leader only.
    pub lag: Option<u64>,
}

impl Consensus {
    /// What this replica is.
    pub fn standing(&self) -> Standing {
        match self.raft.metrics().borrow().state {
            ServerState::Leader => Standing::Leader,
            ServerState::Follower | ServerState::Candidate => Standing::Voter,
            ServerState::Learner | ServerState::Shutdown => Standing::Learner,
        }
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.standing() == Standing::Leader
    }

    /// Whether nobody else votes.
    pub fn is_only_voter(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let mut voters = metrics.membership_config.voter_ids();
        voters.next() == Some(self.id) && voters.next().is_none()
    }

    /// The leader's number and node, as far as known.
    pub fn leader(&self) -> Option<(u64, Option<String>)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&leader);
        Some((leader, node.map(|peer| peer.node.clone())))
    }

    /// Everybody, by number.
    pub fn members(&self) -> Vec<Replica> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        let last = metrics.last_log_index.unwrap_or(0);
        let replica = |(id, peer): (&u64, &Peer)| {
            let held = metrics.replication.as_ref().and_then(|all| all.get(id)).copied().flatten();
            let matched = if leads && *id == self.id { Some(last) } else { held.map(|held| held.index) };
            let standing = match (metrics.current_leader == Some(*id), voters.contains(id)) {
                (true, _) => Standing::Leader,
                (false, true) => Standing::Voter,
                (false, false) => Standing::Learner,
            };
            let lag = leads.then(|| last.saturating_sub(matched.unwrap_or(0)));
            Replica { raft_id: *id, node: peer.node.clone(), standing, matched: matched.map(Revision), lag }
        };
        membership.nodes().map(replica).collect()
    }

    /// Other voters.
    pub fn other_voters(&self) -> Vec<(u64, Peer)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let others = membership.voter_ids().filter(|id| *id != self.id);
        others.filter_map(|id| Some((id, membership.get_node(&id)?.clone()))).collect()
    }

    /// How long ago a majority last confirmed that this node leads; zero where it does not lead.
    pub fn unconfirmed(&self) -> Duration {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leads = metrics.state == ServerState::Leader;
        Duration::from_millis(metrics.millis_since_quorum_ack.filter(|_| leads).unwrap_or(0))
    }

    /// How many vote.
    pub fn voters(&self) -> u32 {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        u32::try_from(metrics.membership_config.voter_ids().count()).unwrap_or(u32::MAX)
    }

    /// How this replica introduces itself to others; `None` where its log does not name it yet: nobody can have removed it.
    pub fn asker(&self) -> Option<Asker> {
        let metrics = self.raft.metrics();
        let named = metrics.borrow().membership_config.membership().get_node(&self.id).is_some();
        let log = &self.wire.log;
        named.then(|| Asker { id: self.id, last: log.last(), recovery: log.recovery() })
    }

    /// What `asker` must know where the cluster has gone on without it: a committed membership without it that is newer
    /// than all it has.
    pub fn removal(&self, asker: &Asker) -> Option<Removal> {
        let (recovery, (since, ids)) = (self.wire.log.recovery(), self.machine.members());
        let removal = Removal { recovery, since };
        (!ids.is_empty() && !ids.contains(&asker.id) && removal.concerns(asker)).then_some(removal)
    }

    /// Adds a learner; nothing where it is a member already.
    pub async fn add_learner(&self, id: u64, node: &str) -> Result<(), Error> {
        if self.members().iter().any(|replica| replica.raft_id == id && replica.node == node) {
            return Ok(());
        }
        let peer = Peer { recovery: self.wire.log.recovery(), ..Peer::on(node) };
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, peer)])), true).await
    }

    /// Lets these vote and nobody else.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), Error> {
        let members: BTreeSet<u64> = self.members().iter().map(|replica| replica.raft_id).collect();
        if !voters.contains(&self.id) || !voters.is_subset(&members) {
            return Err(Error::Invalid);
        }
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// Makes a learner a voter; nothing where it votes already.
    pub async fn promote(&self, id: u64) -> Result<(), Error> {
        let votes = self.other_voters().iter().any(|(voter, _)| *voter == id) || id == self.id;
        if votes {
            return Ok(());
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
    }

    /// Makes a voter a learner; nothing where it does not vote.
    pub async fn demote(&self, id: u64) -> Result<(), Error> {
        if id == self.id {
            return Err(Error::Invalid);
        }
        if !self.other_voters().iter().any(|(voter, _)| *voter == id) {
            return Ok(());
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), true).await
    }

    /// Removes a replica; nothing where it is no member.
    pub async fn remove(&self, id: u64) -> Result<(), Error> {
        if !self.members().iter().any(|replica| replica.raft_id == id) {
            return Ok(());
        }
        self.demote(id).await?;
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await?;
        self.wire.forget(id);
        Ok(())
    }

    async fn change(&self, change: ChangeMembers<u64, Peer>, retain: bool) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            match self.raft.change_membership(change.clone(), retain).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                    return Err(Error::NotLeader { leader: self.leader().and_then(|(_, node)| node) });
                }
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => tokio::time::sleep(ATTEMPT_EVERY).await,
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => return Err(Error::Invalid),
                Err(RaftError::Fatal(_)) => return Err(Error::Unavailable),
            }
        }
        Err(Error::Unavailable)
    }
}
