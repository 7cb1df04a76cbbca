//! Who is in the cluster, as the store's users ask it; changes are made on the leader.

use std::collections::BTreeSet;

use super::raft::{Replica, Standing};
use super::{Error, Store};

impl Store {
    /// This replica's number.
    pub fn raft_id(&self) -> u64 {
        self.inner.raft_id
    }

    /// Whether this node leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.inner.consensus.leads()
    }

    /// Index of the last entry of the log here, which may not be durable yet.
    pub fn log_end(&self) -> u64 {
        self.inner.log.last().map_or(0, |last| last.index)
    }

    /// What this replica is in the cluster.
    pub fn role(&self) -> Standing {
        self.inner.consensus.standing()
    }

    /// The node that leads, as far as this one knows.
    pub fn leader(&self) -> Option<String> {
        if self.leads() { Some(self.inner.forward.node.clone()) } else { self.inner.forward.leader() }
    }

    /// Everybody in the cluster by number, this node too; empty before it was added.
    pub fn members(&self) -> Vec<Replica> {
        self.inner.consensus.members()
    }

    /// Waits until this replica has applied what the leader had when it first could be asked after the start. At once on the
    /// leader.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the store stopped.
    pub async fn caught_up(&self) -> Result<(), Error> {
        let (mut caught_up, mut failed) = (self.inner.caught_up.subscribe(), self.inner.failed.subscribe());
        tokio::select! {
            biased;
            done = caught_up.wait_for(|done| *done) => done.map(drop).map_err(|_| Error::Unavailable),
            _ = failed.wait_for(Option::is_some) => Err(Error::Unavailable),
        }
    }

    /// Adds replica `raft_id` on `node` as a learner; nothing where it is a member already. Returns once that is committed,
    /// not once it has caught up. A number that was ever used is only good for the directory that it was used with.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::Unavailable`], where it may have been done.
    pub async fn add_learner(&self, raft_id: u64, node: &str) -> Result<(), Error> {
        self.check_leads()?;
        self.inner.consensus.add_learner(raft_id, node).await
    }

    /// Lets these replicas vote and nobody else, in one step that majorities of the old and the new voters decide; those
    /// that vote no more stay as learners.
    ///
    /// # Errors
    /// As [`Store::add_learner`]; [`Error::Invalid`] where one is no member, or where the leader is not among them.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), Error> {
        self.check_leads()?;
        self.inner.consensus.set_voters(voters).await
    }

    /// Makes a learner a voter; nothing where it is one. It should have caught up: see [`Store::members`].
    ///
    /// # Errors
    /// As [`Store::add_learner`]; [`Error::Invalid`] where it is no member.
    pub async fn promote(&self, raft_id: u64) -> Result<(), Error> {
        self.check_leads()?;
        self.inner.consensus.promote(raft_id).await
    }

    /// Makes a voter a learner; nothing where it is one.
    ///
    /// # Errors
    /// As [`Store::add_learner`]; [`Error::Invalid`] for the leader itself, which must hand over first.
    pub async fn demote(&self, raft_id: u64) -> Result<(), Error> {
        self.check_leads()?;
        self.inner.consensus.demote(raft_id).await
    }

    /// Removes a replica; nothing where it is no member.
    ///
    /// # Errors
    /// As [`Store::demote`].
    pub async fn remove(&self, raft_id: u64) -> Result<(), Error> {
        self.check_leads()?;
        self.inner.consensus.remove(raft_id).await
    }

    pub(super) fn check_leads(&self) -> Result<(), Error> {
        self.check_alive()?;
        if self.leads() { Ok(()) } else { Err(Error::NotLeader { leader: self.leader() }) }
    }
}
