//! Who leads, and the news of another one.

use openraft::ServerState;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::watch;

use super::{Consensus, Peer};

/// A leadership: its term and the leader's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    term: u64,
    leader: u64,
}

/// Tells of leaderships.
pub struct Leads(watch::Receiver<RaftServerMetrics<u64, Peer>>);

impl Leads {
    /// The one that is known now.
    pub fn now(&mut self) -> Option<Lead> {
        lead(&self.0.borrow_and_update())
    }

    /// Waits until another one than `known` is known; for ever where the consensus has ended.
    pub async fn other_than(&mut self, known: Option<Lead>) {
        let other = |metrics: &RaftServerMetrics<u64, Peer>| {
            let now = lead(metrics);
            now.is_some() && now != known
        };
        let ended = self.0.wait_for(other).await.is_err();
        if ended {
            std::future::pending::<()>().await;
        }
    }
}

fn lead(metrics: &RaftServerMetrics<u64, Peer>) -> Option<Lead> {
    let leader =
        metrics.current_leader.filter(|leader| *leader != metrics.id || metrics.state == ServerState::Leader)?;
    Some(Lead { term: metrics.vote.leader_id.term, leader })
}

impl Consensus {
    /// The news of leaderships.
    pub fn leads_news(&self) -> Leads {
        Leads(self.raft.server_metrics())
    }
}
