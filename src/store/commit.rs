//! Commits: a transaction is proposed until an answer comes or the patience ends, and done once (see `once`).

use openraft::{Entry, EntryPayload};

use super::forward::{At, Search};
use super::handle::{COMMIT_BYTES, DELETE_ROOM, TXN_BYTES};
use super::mutant::mutant;
use super::mvcc::{self, Refusal};
use super::once::Ticket;
use super::raft::peers::{PeerAnswer, PeerRequest, never_arrived};
use super::raft::{Command, Reply, Types};
use super::writer::Space;
use super::{Action, Error, Outcome, Store, Txn};
use crate::model::Revision;

/// Bytes that one operation is counted with beside its value.
const OP_OVERHEAD: usize = 256;

/// What came of one attempt.
enum Attempt {
    /// The state machine has said so: that is what became of the transaction.
    Said(Result<Outcome, Error>),
    /// It was not proposed and will not be, because of this.
    Refused(Error),
    /// It was certainly not proposed, because of this; another attempt may do better.
    Missed(Error),
    /// Nothing is known.
    Unsure,
    /// Its ticket is older than what is remembered at this revision.
    Forgotten(Revision),
}

impl Store {
    /// Commits `txn`, or says why not. Returns once the write is durable and visible to reads here; where another node
    /// leads, it is asked. A leader that is lost meanwhile is not the caller's concern: the transaction is proposed again, and
    /// done once.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Unavailable`] where no leader answered within [`super::StoreOptions::patience`].
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        self.check_alive()?;
        self.check_quorum().await?;
        let size = weigh(&txn);
        if !mvcc::is_valid(&txn) || size > TXN_BYTES {
            return Err(Error::Invalid);
        }
        let bytes = u32::try_from(size).map_err(|_| Error::Invalid)?;
        let _one = self.inner.commits.try_acquire().map_err(|_| Error::Busy)?;
        let _bytes = self.inner.bytes.acquire_many(bytes).await.map_err(|_| Error::Unavailable)?;
        let ticket = self.inner.tickets.issue(self.revision());
        self.commit_once(ticket, txn, size).await.map_err(|error| self.explained(error))
    }

    async fn commit_once(&self, mut ticket: Ticket, txn: Txn, size: usize) -> Result<Outcome, Error> {
        let mut search = self.inner.forward.search();
        // Whether an earlier attempt may yet succeed: no other answer than the state machine's is the truth then.
        let mut unsure = false;
        let mut why = Error::Unavailable;
        loop {
            let attempt = match search.next().await {
                Ok(At::Here) => match search.here(self.commit_here(ticket, &txn, size)).await {
                    Some(attempt) => attempt,
                    None => Attempt::Unsure,
                },
                Ok(At::Node(node)) => self.commit_there(&mut search, &node, ticket, &txn).await,
                Err(_) if unsure => return Err(Error::Unavailable),
                Err(_) => return Err(why),
            };
            self.check_alive()?;
            match attempt {
                Attempt::Said(result) => return result,
                Attempt::Refused(_) | Attempt::Forgotten(_) if unsure => return Err(Error::Unavailable),
                Attempt::Refused(error) => return Err(error),
                Attempt::Forgotten(now) => ticket = self.inner.tickets.issue(now),
                Attempt::Missed(error) => why = error,
                Attempt::Unsure => {
                    unsure = true;
                    if mutant("retry-as-new") {
                        ticket = self.inner.tickets.issue(self.revision());
                    }
                }
            }
        }
    }

    /// One attempt of what another node asks for; it asks again itself.
    pub(super) async fn commit_for_another(&self, ticket: Option<Ticket>, txn: Txn) -> PeerAnswer {
        let answer = |result| PeerAnswer::Commit { result, applied: self.revision() };
        let size = weigh(&txn);
        let bytes = match u32::try_from(size) {
            Ok(bytes) if mvcc::is_valid(&txn) && size <= TXN_BYTES => bytes,
            _ => return answer(Err(Error::Invalid)),
        };
        let Ok(_one) = self.inner.commits.try_acquire() else { return answer(Err(Error::Busy)) };
        let Ok(_bytes) = self.inner.bytes.acquire_many(bytes).await else { return PeerAnswer::Failed };
        let ticket = ticket.unwrap_or_else(|| self.inner.tickets.issue(self.revision()));
        let mut search = self.inner.forward.search();
        match search.here(self.commit_here(ticket, &txn, size)).await {
            Some(Attempt::Said(result)) => answer(result),
            Some(Attempt::Refused(error)) => answer(Err(error)),
            Some(Attempt::Missed(_)) => PeerAnswer::NotLeader(self.leader()),
            Some(Attempt::Forgotten(now)) => PeerAnswer::Forgotten(now),
            Some(Attempt::Unsure) | None => PeerAnswer::Failed,
        }
    }

    async fn commit_here(&self, ticket: Ticket, txn: &Txn, size: usize) -> Attempt {
        if let Err(error) = self.check_room(txn, size).await {
            return Attempt::Refused(error);
        }
        match self.inner.consensus.propose(Command::Once(ticket, txn.clone())).await {
            Ok((now, reply)) => said(now, reply),
            Err(Error::NotLeader { .. }) => Attempt::Unsure,
            Err(error) => {
                self.failure().map_or(Attempt::Unsure, |_| Attempt::Said(Err(self.failure().unwrap_or(error))))
            }
        }
    }

    async fn commit_there(&self, search: &mut Search<'_>, node: &str, ticket: Ticket, txn: &Txn) -> Attempt {
        let request = PeerRequest::Once { ticket, txn: txn.clone() };
        match search.call(node, request).await {
            Some(Ok(PeerAnswer::Commit { result, applied })) => self.told(result, applied, search).await,
            Some(Ok(PeerAnswer::NotLeader(leader))) => {
                search.follow(leader);
                Attempt::Missed(Error::Unavailable)
            }
            Some(Ok(PeerAnswer::Forgotten(now))) => Attempt::Forgotten(now),
            Some(Err(error)) if never_arrived(&error) => Attempt::Missed(Error::Unavailable),
            _ => Attempt::Unsure,
        }
    }

    /// What the leader's answer means. Whoever was refused reads again before it tries again: let it see why.
    async fn told(&self, result: Result<Outcome, Error>, applied: Revision, search: &Search<'_>) -> Attempt {
        match result {
            Err(Error::Busy) => return Attempt::Missed(Error::Busy),
            Err(Error::DiskFull) => return Attempt::Refused(Error::DiskFull),
            Ok(_) | Err(Error::Conflict { .. } | Error::Fenced | Error::Invalid) => {}
            Err(_) => return Attempt::Unsure,
        }
        let seen = result.as_ref().map_or(applied, |outcome| outcome.revision);
        match (result, search.within(self.applied(seen)).await) {
            (Ok(_), None | Some(Err(_))) => Attempt::Said(Err(Error::Unavailable)),
            (result, _) => Attempt::Said(result),
        }
    }

    /// With a full disk only transactions that add nothing pass, into the room that was allocated ahead.
    async fn check_room(&self, txn: &Txn, size: usize) -> Result<(), Error> {
        let space = self.room().await;
        if !space.full {
            return Ok(());
        }
        let adds = txn.ops.iter().any(|op| matches!(op.action, Action::Put { .. }));
        let fits = space.room > size as u64 + DELETE_ROOM;
        if adds || !fits { Err(Error::DiskFull) } else { Ok(()) }
    }

    /// Whether the disk is full and a leader's `entries` do not fit into what was allocated ahead: a log that takes them all
    /// the same ends. Room for votes is left.
    pub(super) async fn lacks_room(&self, entries: &[Entry<Types>]) -> bool {
        let size: usize = entries.iter().map(weigh_entry).sum();
        let space = if entries.is_empty() { Space::default() } else { self.room().await };
        space.full && space.room <= size as u64 + DELETE_ROOM
    }

    /// Room for the log; where there was none lately, the disk is asked again.
    pub(super) async fn room(&self) -> Space {
        let space = *self.inner.shared.space.lock();
        if !space.full {
            return space;
        }
        self.inner.log.probe_room().await;
        *self.inner.shared.space.lock()
    }
}

fn weigh_entry(entry: &Entry<Types>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Command::Txn(txn) | Command::Once(_, txn)) => weigh(txn),
        _ => OP_OVERHEAD,
    }
}

/// What the state machine's reply at entry `now` means.
fn said(now: Revision, reply: Reply) -> Attempt {
    Attempt::Said(match reply {
        Ok(revision) => Ok(Outcome { revision }),
        Err(Refusal::Conflict { key, actual }) => Err(Error::Conflict { key, actual }),
        Err(Refusal::Fenced) => Err(Error::Fenced),
        Err(Refusal::Invalid) => Err(Error::Invalid),
        Err(Refusal::Forgotten) => return Attempt::Forgotten(now),
    })
}

fn weigh(txn: &Txn) -> usize {
    let value = |op: &super::Op| match &op.action {
        Action::Put { value, .. } => value.len(),
        Action::Delete | Action::Check => 0,
    };
    txn.ops.iter().map(|op| value(op) + OP_OVERHEAD).sum()
}

const _: () = assert!(TXN_BYTES <= COMMIT_BYTES);
