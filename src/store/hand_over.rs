//! Leaders that go: because somebody says so, because the node stops, because the disk is slow or full.
//!
//! A leader that hands over takes nothing new (whoever asks waits, and asks the next one), lets the other get all of its log,
//! and then tells it to stand for election.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout, timeout_at};

use super::disk::{self, Candidate, Health};
use super::raft::Peer;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::stats::RECENT;
use super::{Error, Store};

/// Bound on a hand-over. Writes wait meanwhile.
pub const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);
/// Bound on asking the voters how they are.
const ASK_WITHIN: Duration = Duration::from_millis(150);
/// Once one has answered, the others have this much longer where one is enough.
const OTHERS_WITHIN: Duration = Duration::from_millis(5);
/// Between two looks of a leader at its own disk. One that has other voters sends heartbeats as often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Store {
    /// Lets voter `raft_id` lead instead. Returns once this node leads no more, at most after [`HAND_OVER_WITHIN`].
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::Invalid`] where it does not vote; [`Error::Unavailable`] where it did not come to it.
    pub async fn hand_over(&self, raft_id: u64) -> Result<(), Error> {
        self.check_leads()?;
        let voters = self.inner.consensus.other_voters();
        let (_, target) = voters.into_iter().find(|(id, _)| *id == raft_id).ok_or(Error::Invalid)?;
        let held = self.inner.forward.hold();
        let done = timeout(HAND_OVER_WITHIN, self.pass_to(raft_id, &target)).await;
        drop(held);
        done.unwrap_or(Err(Error::Unavailable))
    }

    /// Lets another voter lead for the sake of this node's disk, which is in this `health` (see [`disk::relief`]). Gives its
    /// number. `bound` is what a sync may take. At most [`HAND_OVER_WITHIN`] and the time to ask them, 150 ms.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::Unavailable`] where no voter is able, or it did not come to it.
    pub async fn relieve(&self, bound: Duration, health: Health) -> Result<u64, Error> {
        self.check_leads()?;
        // How many have room counts where it is room that is missing: then all are waited for.
        let others_within = if health == Health::Full { ASK_WITHIN } else { OTHERS_WITHIN };
        let voters = self.inner.consensus.other_voters().len() + 1;
        let next = disk::relief(&self.candidates(others_within).await, voters, bound, health);
        let next = next.ok_or(Error::Unavailable)?;
        self.hand_over(next).await.map(|()| next)
    }

    /// Lets the best of the other voters lead, however it is.
    async fn hand_over_to_best(&self) -> Result<u64, Error> {
        let best = disk::successor(&self.candidates(OTHERS_WITHIN).await, Duration::MAX, None);
        let best = best.ok_or(Error::Unavailable)?;
        self.hand_over(best).await.map(|()| best)
    }

    /// Hands over where this node leads others, as it does before it stops. Where that fails they elect one by themselves.
    pub async fn step_aside(&self) {
        if !self.leads() || self.inner.consensus.other_voters().is_empty() || self.check_alive().is_err() {
            return;
        }
        match self.hand_over_to_best().await {
            Ok(raft_id) => tracing::info!(raft_id, "handed over the lead"),
            Err(error) => tracing::warn!(%error, "nobody took over the lead"),
        }
    }

    /// The 99th percentile of the syncs of late, or how long the one that runs has taken, if that is more.
    pub fn sync_recent_p99(&self) -> Duration {
        self.inner.shared.recent.lock().p99(Instant::now())
    }

    /// How this node's disk is, where a sync may take `bound`.
    async fn disk_health(&self, bound: Duration) -> Health {
        Health::of(self.sync_recent_p99(), self.room().await.full, bound)
    }

    /// Waits until this node leads other voters with a disk whose syncs of late took more than `bound`, or that has no room:
    /// it should hand over. Gives what it suffers from.
    pub async fn leads_with_bad_disk(&self, bound: Duration) -> Health {
        let mut changes = self.inner.consensus.raft().server_metrics();
        loop {
            changes.borrow_and_update();
            if self.leads() && !self.inner.consensus.other_voters().is_empty() {
                match self.disk_health(bound).await {
                    Health::Well => {}
                    health => return health,
                }
                tokio::time::sleep(LOOK_EVERY).await;
            } else if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Hands over whenever this node leads with a disk whose syncs of late took more than `bound`, or that has no room, for
    /// ever.
    pub async fn hand_over_when_unwell(&self, bound: Duration) {
        loop {
            let health = self.leads_with_bad_disk(bound).await;
            match self.relieve(bound, health).await {
                Ok(raft_id) => tracing::warn!(raft_id, disk = ?health, "handed over the lead for the disk's sake"),
                Err(error) => tracing::warn!(%error, disk = ?health, "nobody took over the lead for the disk's sake"),
            }
            tokio::time::sleep(RECENT).await;
        }
    }

    async fn pass_to(&self, raft_id: u64, target: &Peer) -> Result<(), Error> {
        let consensus = &self.inner.consensus;
        let last = consensus.last_proposed().await.ok_or(Error::Unavailable)?;
        let mut progress = consensus.raft().metrics();
        let holds = progress.wait_for(|metrics| {
            let held = metrics.replication.as_ref().and_then(|all| all.get(&raft_id)).copied().flatten();
            metrics.replication.is_none() || held.is_some_and(|held| held.index >= last)
        });
        holds.await.map_err(|_| Error::Unavailable)?;
        match consensus.wire().peers.call(target, PeerRequest::Stand { to: raft_id }).await {
            Ok(PeerAnswer::Stands) => {}
            _ => return Err(Error::Unavailable),
        }
        let mut changes = consensus.raft().server_metrics();
        while self.leads() {
            changes.changed().await.map_err(|_| Error::Unavailable)?;
        }
        Ok(())
    }

    /// The other voters that answer; once one has, the others have `others_within`.
    async fn candidates(&self, others_within: Duration) -> Vec<Candidate> {
        let members = self.members();
        let lag = |id: u64| members.iter().find(|replica| replica.raft_id == id).and_then(|replica| replica.lag);
        let peers = &self.inner.consensus.wire().peers;
        let voters = self.inner.consensus.other_voters();
        let mut answers: FuturesUnordered<_> =
            voters.iter().map(async |(id, target)| (*id, peers.call(target, PeerRequest::Health).await)).collect();
        let mut until = Instant::now() + ASK_WITHIN;
        let mut candidates = Vec::new();
        while let Ok(Some((raft_id, answer))) = timeout_at(until, answers.next()).await {
            if let Ok(PeerAnswer::Health { sync_p99_micros, full }) = answer {
                let (lag, sync_p99) = (lag(raft_id).unwrap_or(u64::MAX), Duration::from_micros(sync_p99_micros));
                candidates.push(Candidate { raft_id, lag, sync_p99, full });
                until = until.min(Instant::now() + others_within);
            }
        }
        candidates
    }
}
