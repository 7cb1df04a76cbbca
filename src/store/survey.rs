//! Asks every replica where its log ends and who leads: what a replica that misses the quorum wants to know, and what a
//! recovery is decided from.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::Store;
use super::contact::Contact;
use super::raft::peers::{End, PeerAnswer, PeerRequest};
use super::raft::{Consensus, Peer, Replica, Standing};

/// Bound on one replica's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Bound on a leader's making sure that it is one.
const CONFIRM_WITHIN: Duration = Duration::from_millis(500);

/// A replica of the last known membership, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Who.
    pub replica: Replica,
    /// What it says of itself; `None` where it was not reached.
    pub end: Option<End>,
}

/// What all of them answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// This replica.
    pub own: End,
    /// Whether the last known membership has it.
    pub member: bool,
    /// Whether it votes.
    pub votes: bool,
    /// The others of the membership, by number.
    pub others: Vec<Answered>,
    /// A node that says that the cluster has gone on without this replica.
    pub removed_by: Option<String>,
}

impl Store {
    /// Asks every other replica of the last known membership, all at once; takes a second at most.
    pub async fn survey(&self) -> Survey {
        self.inner.consensus.survey(&self.inner.contact).await
    }

    /// What this replica says in a survey.
    pub(super) async fn end(&self) -> End {
        self.inner.consensus.end().await
    }
}

impl Consensus {
    /// See [`Store::survey`]; tells `contact` what comes out.
    pub(super) async fn survey(&self, contact: &Contact) -> Survey {
        let (members, id, asker) = (self.members(), self.id(), self.asker());
        let own = self.end().await;
        let mut survey = Survey { own, member: asker.is_some(), votes: false, others: Vec::new(), removed_by: None };
        let (mine, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|replica| replica.raft_id == id);
        survey.votes = mine.iter().any(|replica| replica.standing != Standing::Learner);
        let asked = others.iter().map(|replica| {
            let target = Peer::on(&replica.node);
            async move { timeout(ANSWER_WITHIN, self.wire().peers.call(&target, PeerRequest::Survey(asker))).await }
        });
        for (answer, replica) in join_all(asked).await.into_iter().zip(others.clone()) {
            let end = match (answer, &asker) {
                (Ok(Ok(PeerAnswer::Survey(end))), _) if end.raft_id == replica.raft_id => Some(end),
                (Ok(Ok(PeerAnswer::Removed(removal))), Some(asker)) if removal.concerns(asker) => {
                    contact.remove(&replica.node);
                    survey.removed_by = Some(replica.node.clone());
                    None
                }
                _ => None,
            };
            survey.others.push(Answered { replica, end });
        }
        let reachable = survey.others.iter().filter(|one| one.votes() && one.end.is_some()).count();
        let voters = survey.others.iter().filter(|one| one.votes()).count() + usize::from(survey.votes);
        contact.count(small(reachable + usize::from(survey.votes)), small(voters));
        survey
    }

    async fn end(&self) -> End {
        let applied = *self.machine().revision().borrow();
        let confirmed = async { self.leads() && self.read_index().await.is_ok() };
        End {
            raft_id: self.id(),
            last: self.wire().log.last(),
            term: self.term(),
            applied,
            recovery: self.wire().log.recovery(),
            leads: timeout(CONFIRM_WITHIN, confirmed).await.unwrap_or(false),
        }
    }
}

impl Answered {
    /// Whether it votes.
    pub fn votes(&self) -> bool {
        self.replica.standing != Standing::Learner
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
