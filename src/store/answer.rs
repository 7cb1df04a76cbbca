//! What other replicas ask of this one. Whatever it acknowledges to a leader is durable here.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{RaftLogReader as _, Snapshot};
use tokio::time::{Instant, timeout};

use super::mutant::mutant;
use super::raft::confirm::Follows;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::raft::transfer::{Chunk, Taken};
use super::raft::{LEASE, LogId, Standing, Types};
use super::{Error, Store};
use crate::model::Revision;

impl Store {
    /// Answers `request`, which node `from` sent; whoever carries it has made sure of that name. Bounded in time by the local
    /// disk, and by [`super::StoreOptions::patience`] where other voters are needed.
    pub async fn answer(&self, from: &str, request: PeerRequest) -> PeerAnswer {
        match request {
            PeerRequest::Append { to, .. }
            | PeerRequest::Vote { to, .. }
            | PeerRequest::Stand { to }
            | PeerRequest::Chunk { to, .. }
                if to != self.inner.raft_id =>
            {
                PeerAnswer::Stranger { raft_id: self.inner.raft_id }
            }
            // From a cluster that this one has been recovered from nothing is taken.
            PeerRequest::Append { recovery, .. }
            | PeerRequest::Vote { recovery, .. }
            | PeerRequest::Chunk { recovery, .. }
                if recovery < self.inner.log.recovery() =>
            {
                PeerAnswer::Failed
            }
            PeerRequest::Canvass { asker: Some(asker), .. } | PeerRequest::Survey(Some(asker))
                if let Some(removal) = self.inner.consensus.removal(&asker) =>
            {
                PeerAnswer::Removed(removal)
            }
            PeerRequest::Append { request, .. } => self.append(from, request).await,
            PeerRequest::Vote { mut request, .. } => {
                if mutant("vote-for-any-log") {
                    request.last_log_id = request.last_log_id.max(self.inner.log.last());
                }
                self.inner.consensus.raft().vote(request).await.map_or(PeerAnswer::Failed, PeerAnswer::Vote)
            }
            PeerRequest::Canvass { last, asker } => {
                let behind = asker.is_some_and(|asker| asker.recovery < self.inner.log.recovery());
                PeerAnswer::Canvass(!behind && !self.inner.contact.is_removed() && self.would_vote(last))
            }
            PeerRequest::Survey(_) => PeerAnswer::Survey(self.end().await),
            PeerRequest::Stand { .. } => self.stand(from).await,
            PeerRequest::Chunk { chunk, .. } => self.take_chunk(from, chunk).await,
            PeerRequest::Health => {
                let micros = self.sync_recent_p99().as_micros();
                let sync_p99_micros = u64::try_from(micros).unwrap_or(u64::MAX);
                PeerAnswer::Health { sync_p99_micros, full: self.room().await.full }
            }
            // The request was counted where it came in; a leader that is asked does not pass it on.
            _ if !self.inner.forward.serves() => {
                PeerAnswer::NotLeader(self.leader().filter(|leader| *leader != self.inner.forward.node))
            }
            PeerRequest::Commit(txn) => self.commit_for_another(None, txn).await,
            PeerRequest::Once { ticket, txn } => self.commit_for_another(Some(ticket), txn).await,
            PeerRequest::Compact(revision) => PeerAnswer::Compact(self.compact(revision).await),
            PeerRequest::ReadIndex { .. } if !self.inner.contacts.note(from, Instant::now()) => PeerAnswer::Failed,
            PeerRequest::ReadIndex { remind, follows } => {
                let answer = self.read_index_for(from, follows).await;
                if remind {
                    self.inner.consensus.remind().await;
                }
                PeerAnswer::ReadIndex(answer)
            }
        }
    }

    async fn read_index_for(&self, from: &str, follows: Option<Follows>) -> Result<Revision, Error> {
        if let Some(follows) = follows
            && let Some(committed) = self.inner.consensus.confirmed_by(follows, from).await
        {
            return Ok(committed);
        }
        self.barrier().await
    }

    async fn append(&self, from: &str, mut request: AppendEntriesRequest<Types>) -> PeerAnswer {
        if mutant("match-by-index")
            && let Some(before) = &mut request.prev_log_id
            && let Ok(own) = self.inner.log.clone().try_get_log_entries(before.index..=before.index).await
        {
            *before = own.first().map_or(*before, |own| own.log_id);
        }
        let leader = request.vote.leader_id.node_id;
        let lacks_room = self.lacks_room(&request.entries).await;
        if lacks_room {
            // The rest is a heartbeat. Its leader sends the entries again: there may be room then.
            request.entries.clear();
        }
        let last = request.entries.last().map(|entry| entry.log_id.index);
        let heard = || self.inner.forward.heard.note(leader, from, Instant::now());
        let answer = match self.inner.consensus.raft().append_entries(request).await {
            Ok(answer) => answer,
            Err(_) => return PeerAnswer::Failed,
        };
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            heard();
        }
        if lacks_room && matches!(answer, AppendEntriesResponse::Success) {
            return PeerAnswer::Failed;
        }
        let last = last.filter(|_| !mutant("acknowledge-before-durable"));
        if let (AppendEntriesResponse::Success, Some(last)) = (&answer, last) {
            match timeout(self.inner.forward.patience, self.inner.log.durable(last)).await {
                Ok(Ok(())) => heard(),
                _ => return PeerAnswer::Failed,
            }
        }
        PeerAnswer::Append(answer.into())
    }

    /// Whether a candidate whose log ends with `last` would get this node's vote: not while a leader is heard.
    fn would_vote(&self, last: Option<LogId>) -> bool {
        let now = Instant::now();
        let quiet = self.inner.forward.heard.at().is_none_or(|at| now.duration_since(at) >= LEASE);
        !self.leads() && quiet && (last >= self.inner.log.last() || mutant("vote-for-any-log"))
    }

    async fn stand(&self, from: &str) -> PeerAnswer {
        if self.role() != Standing::Voter || self.leader().as_deref() != Some(from) {
            return PeerAnswer::Failed;
        }
        self.inner.consensus.elect().await;
        PeerAnswer::Stands
    }

    async fn take_chunk(&self, from: &str, chunk: Chunk) -> PeerAnswer {
        let now = Instant::now();
        self.inner.receiver.expire(now);
        self.inner.forward.heard.touch(from, now);
        if self.room().await.full {
            // A snapshot that cannot be written would end the store.
            return PeerAnswer::Failed;
        }
        match self.inner.receiver.take(from, chunk, now) {
            Ok(Taken::More(taken)) => PeerAnswer::Chunk { taken, vote: None },
            Ok(Taken::Whole(taken, image, end)) => {
                let snapshot = Snapshot { meta: end.meta, snapshot: image };
                match self.inner.consensus.raft().install_full_snapshot(end.vote, snapshot).await {
                    Ok(answer) => {
                        self.inner.forward.heard.note(end.vote.leader_id.node_id, from, Instant::now());
                        PeerAnswer::Chunk { taken, vote: Some(answer.vote) }
                    }
                    Err(_) => PeerAnswer::Failed,
                }
            }
            Err(error) => {
                tracing::warn!(?error, from, "a snapshot does not decode");
                PeerAnswer::Failed
            }
        }
    }
}
