//! How openraft reaches another replica: through the door, and never ahead of this node's own disk.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{Snapshot, Vote};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::log_store::LogStore;
use super::peers::{Appended, PeerAnswer, PeerRequest, Peers};
use super::trail::{BACK, FEW, Trail};
use super::{APPEND_WITHIN, LogId, Peer, Types, transfer};
use crate::store::Error;
use crate::store::mutant::mutant;

/// First wait before a replica that could not be reached is tried again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such wait.
const RETRY_MOST: Duration = Duration::from_millis(400);

/// A replica that answered so lately is told what is committed without waiting for what it says to that. It is also by how
/// much longer, at most, a leader takes itself for heard.
const ANSWERED_LATELY: Duration = Duration::from_millis(50);
/// Such news under way to one replica, at most; one more waits for its answer.
const NEWS: usize = 4;

/// What all links of a store share.
pub struct Wire {
    /// The door.
    pub peers: Arc<dyn Peers>,
    /// The own log.
    pub log: LogStore,
    /// Ends every call when the store ends.
    pub failed: Arc<watch::Sender<Option<Error>>>,
    /// Told when news of what is committed did not get through: openraft does not send it again by itself.
    pub owed: Notify,
    /// The last entry that each replica said it holds, and the term in which this node led then.
    acknowledged: Mutex<BTreeMap<u64, (u64, LogId)>>,
    transfers: AtomicU64,
}

impl Wire {
    /// Through `peers`, with the own `log`.
    pub fn new(peers: Arc<dyn Peers>, log: LogStore, failed: Arc<watch::Sender<Option<Error>>>) -> Arc<Self> {
        let (owed, acknowledged) = (Notify::new(), Mutex::default());
        Arc::new(Self { peers, log, failed, owed, acknowledged, transfers: AtomicU64::new(0) })
    }

    fn acknowledge(&self, id: u64, term: u64, last: LogId) {
        let mut acknowledged = self.acknowledged.lock();
        let known = acknowledged.entry(id).or_insert((term, last));
        *known = (*known).max((term, last));
    }

    /// Forgets what replica `id` said, which is no member any more.
    pub fn forget(&self, id: u64) {
        self.acknowledged.lock().remove(&id);
    }

    /// Whether replica `id` has said in this `term` that it holds `entry`.
    fn held(&self, id: u64, term: u64, entry: LogId) -> bool {
        self.acknowledged.lock().get(&id).is_some_and(|(then, last)| *then == term && *last >= entry)
    }
}

/// Makes a link per replica.
pub struct Network(pub Arc<Wire>);

/// A link to one replica.
#[derive(Clone)]
pub struct Link {
    wire: Arc<Wire>,
    id: u64,
    target: Peer,
    /// When the last message was sent that it took; openraft makes a new link for each question whether this node leads.
    answered: Option<Instant>,
    news: Arc<Semaphore>,
    /// What it was last told to be committed.
    told: Option<LogId>,
    trail: Arc<Trail>,
}

type CallError = RPCError<u64, Peer, RaftError<u64>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, id: u64, node: &Peer) -> Link {
        let news = Arc::new(Semaphore::new(NEWS));
        let trail = self.0.log.next.of(id);
        Link { wire: self.0.clone(), id, target: node.clone(), answered: None, news, told: None, trail }
    }
}

/// Says that news is owed unless it was delivered, also where openraft stops waiting.
struct Owes<'a>(Option<&'a Notify>);

impl Drop for Owes<'_> {
    fn drop(&mut self) {
        if let Some(owed) = self.0 {
            owed.notify_one();
        }
    }
}

impl Link {
    /// Waits until the own disk holds what is said to be committed, then sends.
    ///
    /// openraft counts an entry of its own before it is durable (see [`super`]), so what it calls committed may be lost by
    /// a power cut here. Nobody is told before it cannot be. Entries that are not committed go out at once.
    async fn append(&self, request: AppendEntriesRequest<Types>) -> io::Result<Appended> {
        if let Some(committed) = request.leader_commit
            && !mutant("tell-before-durable")
        {
            self.wire.log.durable(committed.index).await?;
        }
        let term = request.vote.leader_id.term;
        let (before, last) = (request.prev_log_id, request.entries.last().map(|entry| entry.log_id));
        let message = PeerRequest::Append { to: self.id, request, recovery: self.wire.log.recovery() };
        let answer = if mutant("count-the-unreachable") && last.is_some() {
            let called = timeout(RETRY_MOST, self.call(message)).await;
            called.ok().and_then(Result::ok).unwrap_or(PeerAnswer::Append(Appended::Success))
        } else {
            self.call(message).await?
        };
        let PeerAnswer::Append(answer) = answer else { return Err(unexpected(&answer)) };
        match (&answer, before) {
            (Appended::Success, _) => {
                last.or(before).into_iter().for_each(|last| self.wire.acknowledge(self.id, term, last));
            }
            // openraft takes this for impossible and ends.
            (Appended::Conflict, Some(before)) if self.wire.held(self.id, term, before) => {
                return Err(io::Error::other(format!(
                    "replica {} on {} has lost what it held; remove it and add it under a new number",
                    self.id, self.target.node
                )));
            }
            _ => {}
        }
        Ok(answer)
    }

    /// Sends the entries of `request`. Of those that the reader left out it finds out first whether the replica has them.
    async fn replicate(&self, request: AppendEntriesRequest<Types>) -> io::Result<Appended> {
        let from = request.prev_log_id.map_or(0, |before| before.index + 1);
        match (request.entries.first(), request.entries.last().map(|last| last.log_id)) {
            (Some(first), Some(last)) if first.log_id.index > from => self.seek(request, last).await,
            _ => self.append(request).await,
        }
    }

    /// Looks for the end of what the replica holds, from the begin of this term on backwards, and sends what follows it.
    async fn seek(&self, request: AppendEntriesRequest<Types>, last: LogId) -> io::Result<Appended> {
        let from = request.prev_log_id.map_or(0, |before| before.index);
        for back in BACK {
            let Some(question) = self.question(&request, from, back).await? else { break };
            let Some(end) = question.entries.last().map(|entry| entry.log_id) else { break };
            match self.append(question).await? {
                Appended::Success => {
                    self.trail.found(Some(end));
                    return Ok(if end >= last { Appended::Success } else { Appended::Partly(Some(end)) });
                }
                Appended::Conflict => {}
                other => return Ok(other),
            }
        }
        self.trail.found(None);
        let first = request.prev_log_id.map_or(0, |before| before.index + 1);
        let entries = self.wire.log.message(first, last.index + 1).await?;
        let end = entries.last().map(|entry| entry.log_id).ok_or_else(|| io::Error::other("the entries are gone"))?;
        Ok(match self.append(AppendEntriesRequest { entries, ..request }).await? {
            Appended::Success if end < last => Appended::Partly(Some(end)),
            answer => answer,
        })
    }

    /// The entries `back` places before this term's first, a few; `None` where openraft itself asks at `from` or behind it.
    async fn question(
        &self,
        request: &AppendEntriesRequest<Types>,
        from: u64,
        back: u64,
    ) -> io::Result<Option<AppendEntriesRequest<Types>>> {
        let (log, leader) = (&self.wire.log, request.vote.leader_id);
        let of = |id: LogId| (id.leader_id.term, id.leader_id.node_id);
        let own = (leader.term, leader.node_id);
        let Some(end) = log.end_before(|id| of(id) >= own, from) else { return Ok(None) };
        let Some(before) = end.index.checked_sub(back).filter(|at| *at > from) else { return Ok(None) };
        let Some(before) = log.id_at(before) else { return Ok(None) };
        let mut entries = log.message(before.index + 1, before.index + 1 + FEW).await?;
        // Were this node replaced meanwhile, its log may hold what another leader wrote.
        entries.retain(|entry| of(entry.log_id) <= own);
        Ok(Some(AppendEntriesRequest { prev_log_id: Some(before), entries, ..request.clone() }))
    }

    /// Sends news of what is committed beside whatever comes next, which would otherwise wait for a whole round trip:
    /// openraft has one message under way to a replica.
    fn tell(&self, request: AppendEntriesRequest<Types>, permit: OwnedSemaphorePermit) {
        let link = self.clone();
        tokio::spawn(async move {
            let mut owes = Owes(Some(&link.wire.owed));
            if let Ok(Ok(_)) = timeout(APPEND_WITHIN, link.append(request)).await {
                owes.0 = None;
            }
            drop(permit);
        });
    }

    /// Leave to send a message without waiting for its answer: it has no entries, and the replica is there.
    fn may_tell(&self, request: &AppendEntriesRequest<Types>) -> Option<OwnedSemaphorePermit> {
        let lately = self.answered.is_some_and(|at| at.elapsed() < ANSWERED_LATELY);
        (request.entries.is_empty() && lately).then(|| self.news.clone().try_acquire_owned().ok()).flatten()
    }

    async fn call(&self, request: PeerRequest) -> io::Result<PeerAnswer> {
        let mut failed = self.wire.failed.subscribe();
        tokio::select! {
            biased;
            _ = failed.wait_for(Option::is_some) => Err(io::ErrorKind::BrokenPipe.into()),
            answer = self.wire.peers.call(&self.target, request) => answer,
        }
    }

    async fn send(&self, vote: Vote<u64>, snapshot: Snapshot<Types>) -> io::Result<Vote<u64>> {
        let recovery = self.wire.log.recovery();
        let number = self.wire.transfers.fetch_add(1, Ordering::Relaxed);
        let term = vote.leader_id.term;
        let last = snapshot.meta.last_log_id;
        let mut failed = self.wire.failed.subscribe();
        let vote = tokio::select! {
            biased;
            _ = failed.wait_for(Option::is_some) => return Err(io::ErrorKind::BrokenPipe.into()),
            sent = transfer::send(&*self.wire.peers, (self.id, &self.target, recovery), (term, number), vote, snapshot) => sent?,
        };
        last.into_iter().for_each(|last| self.wire.acknowledge(self.id, term, last));
        Ok(vote)
    }
}

fn unexpected(answer: &PeerAnswer) -> io::Error {
    io::Error::other(format!("not the answer that was asked for: {answer:?}"))
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let held = request.entries.last().map(|last| last.log_id).filter(|last| self.trail.holds(*last));
        let committed = request.leader_commit;
        if held.is_some() && committed <= self.told {
            return Ok(AppendEntriesResponse::Success);
        }
        let request = match held {
            // It needs the news, not the entries.
            Some(_) => AppendEntriesRequest { prev_log_id: held, entries: Vec::new(), ..request },
            None => request,
        };
        if let Some(permit) = self.may_tell(&request) {
            self.told = committed;
            self.tell(request, permit);
            return Ok(AppendEntriesResponse::Success);
        }
        let (mut owes, sent) = (Owes(request.entries.is_empty().then_some(&self.wire.owed)), Instant::now());
        self.answered = None;
        let answer = self.replicate(request).await.map_err(|error| Unreachable::new(&error))?;
        owes.0 = None;
        self.answered = matches!(answer, Appended::Success).then_some(sent);
        if matches!(answer, Appended::Success | Appended::Partly(_)) {
            self.told = self.told.max(committed);
        }
        Ok(answer.into())
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _: RPCOption) -> Result<VoteResponse<u64>, CallError> {
        match self.call(PeerRequest::Vote { to: self.id, request, recovery: self.wire.log.recovery() }).await {
            Ok(PeerAnswer::Vote(answer)) => Ok(answer),
            Ok(answer) => Err(Unreachable::new(&unexpected(&answer)).into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = self.send(vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse { vote }),
                Err(error) => Err(Unreachable::new(&error).into()),
            },
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::successors(Some(RETRY_FIRST), |wait| Some((*wait * 2).min(RETRY_MOST))))
    }
}
