//! The log as openraft wants it: appends go to the writer, reads (`reader`) come from memory or from the segments.

mod reader;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, StorageIOError, Vote};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use self::reader::Reader;
use super::trail::Next;
use super::{LogId, Peer, StorageError, Types};
use crate::store::Error;
use crate::store::log::frame::{Kind, Place, Record};
use crate::store::log::{self};
use crate::store::mutant::{self, mutant};
use crate::store::writer::{Ack, Job, Shared};

type Entry = openraft::Entry<Types>;

/// Entries kept in memory beyond those that are not durable yet, so that applying rarely reads the disk.
const CACHE_ENTRIES: usize = 1024;
/// Bytes that those may hold.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// A handle on the log. Clones see the same log.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    memory: Arc<Mutex<Memory>>,
    /// How often the cluster was recovered, as far as this log has ever known.
    recovery: Arc<AtomicU64>,
    /// For whom openraft reads next.
    pub next: Arc<Next>,
}

/// The log as appended, of which a tail may not be durable yet.
#[derive(Default)]
struct Memory {
    recent: VecDeque<(Entry, usize)>,
    recent_bytes: usize,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote<u64>>,
    committed: Option<LogId>,
}

impl LogStore {
    /// Reads what the log of replica `own` remembers.
    ///
    /// # Errors
    /// Where it does not decode.
    pub fn new(shared: Arc<Shared>, jobs: mpsc::Sender<Job>, own: u64) -> io::Result<Self> {
        let index = shared.index.lock();
        let purged = index.purged.as_ref().map(|(_, payload)| decode(payload)).transpose()?;
        let vote = index.vote.as_ref().map(decode).transpose()?;
        let vote = vote.map(|vote: Vote<u64>| reopened(vote, own)).filter(|_| !mutant("forget-vote"));
        let last = index.last().map(log_id).or(purged);
        let committed = index.slot(index.committed).map(|slot| log_id(slot.place));
        drop(index);
        mutant::starts_after(last.map_or(0, |last| last.index));
        let memory = Memory { last, purged, vote, committed, ..Memory::default() };
        let memory = Arc::new(Mutex::new(memory));
        Ok(Self { shared, jobs, memory, recovery: Arc::default(), next: Arc::default() })
    }

    /// How often the cluster was recovered, as far as this replica has ever known.
    pub fn recovery(&self) -> u64 {
        self.recovery.load(Ordering::SeqCst)
    }

    /// Takes note of a membership.
    pub fn saw(&self, membership: &openraft::Membership<u64, Peer>) {
        let recovery = membership.nodes().map(|(_, peer)| peer.recovery).max();
        self.recovery.fetch_max(recovery.unwrap_or(0), Ordering::SeqCst);
    }

    /// The vote that this replica has given; it is noted here before anybody hears of it.
    pub fn vote(&self) -> Option<Vote<u64>> {
        self.memory.lock().vote
    }

    async fn submit(&self, records: Vec<Record>, ack: Option<Ack>) -> io::Result<()> {
        let committed = self.memory.lock().committed.map_or(0, |committed| committed.index);
        let job = Job { records, committed, ack, end: false };
        self.jobs.send(job).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn submit_and_wait(&self, record: Record) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        let ack: Ack = Box::new(move |result| drop(done.send(result)));
        self.submit(vec![record], Some(ack)).await?;
        waiting.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?
    }

    /// The last entry, which may not be durable yet.
    pub fn last(&self) -> Option<LogId> {
        self.memory.lock().last
    }

    /// Waits until entry `index` is durable here.
    ///
    /// # Errors
    /// Where it never will be.
    pub async fn durable(&self, index: u64) -> io::Result<()> {
        let mut durable = self.shared.durable.subscribe();
        let reached = durable.wait_for(|durable| durable.next > index || durable.failed.is_some()).await;
        match reached {
            Ok(durable) if durable.next > index => Ok(()),
            _ => Err(io::Error::other("the entry will not become durable")),
        }
    }

    /// The index up to which `keep` bytes of entries before `upto` may be dropped.
    pub fn droppable(&self, upto: u64, keep: u64) -> u64 {
        let index = self.shared.index.lock();
        let (mut at, mut kept) = (upto, 0);
        while let Some(slot) = index.slot(at) {
            kept += u64::from(slot.len);
            if kept > keep || at == 0 {
                break;
            }
            at -= 1;
        }
        at
    }

    /// Ends the writer once it has done what was asked before.
    pub async fn finish(&self) {
        let _ = self.jobs.send(Job::end()).await;
    }

    /// Makes the writer look again whether there is room on the disk.
    pub async fn probe_room(&self) {
        let _ = self.submit(Vec::new(), None).await;
    }

    fn read_disk(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let index = self.shared.index.lock();
        let slots: Vec<_> = (from..to).filter_map(|at| index.slot(at)).collect();
        drop(index);
        let read = log::read(&*self.shared.disk, &self.shared.dir, &slots);
        let read = read.inspect_err(|error| self.note_damage(error))?;
        let entries: Vec<Entry> = read.iter().map(decode).collect::<io::Result<_>>()?;
        // A start reads the membership that is in effect, before anything is asked of this replica.
        for entry in &entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.saw(membership);
            }
        }
        Ok(entries)
    }

    /// Damage ends the store, and is why.
    fn note_damage(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            let damaged = Error::Damaged(error.to_string());
            self.shared.durable.send_modify(|durable| {
                durable.failed.get_or_insert(damaged);
            });
        }
    }
}

impl Memory {
    fn push(&mut self, entry: Entry, size: usize, durable_next: u64) {
        self.last = Some(entry.log_id);
        self.recent.push_back((entry, size));
        self.recent_bytes += size;
        while self.recent.len() > CACHE_ENTRIES || self.recent_bytes > CACHE_BYTES {
            // What is not durable cannot be read from anywhere else.
            if self.recent.front().is_none_or(|(entry, _)| entry.log_id.index >= durable_next) {
                break;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        self.recent_bytes -= self.recent.pop_front().map_or(0, |(_, size)| size);
    }

    fn forget_last(&mut self) {
        self.recent_bytes -= self.recent.pop_back().map_or(0, |(_, size)| size);
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let memory = self.memory.lock();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> Reader {
        Reader::new(self.clone(), self.next.take())
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError> {
        let write = async {
            let record = Record { kind: Kind::Vote, place: Place::default(), payload: encode(vote)? };
            if mutant("vote-before-durable") {
                return self.submit(vec![record], None).await;
            }
            self.submit_and_wait(record).await
        };
        write.await.map_err(|error| StorageIOError::write_vote(&error))?;
        self.memory.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        Ok(self.memory.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        // Written with the next unit; a start may know less than was committed, never more.
        self.memory.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.memory.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let fail = |error: io::Error| StorageIOError::write_logs(&error);
        let durable = self.shared.durable.borrow().next;
        let mut records = Vec::new();
        let mut changes_members = false;
        {
            let mut memory = self.memory.lock();
            for entry in entries {
                let payload = encode(&entry).map_err(fail)?;
                let place = place(&entry.log_id);
                if let EntryPayload::Membership(membership) = &entry.payload {
                    self.saw(membership);
                    changes_members = true;
                }
                memory.push(entry, payload.len(), durable);
                records.push(Record { kind: Kind::Entry, place, payload });
            }
        }
        if changes_members {
            let ack: Ack = Box::new(move |result| callback.log_io_completed(result));
            self.submit(records, Some(ack)).await.map_err(fail)?;
        } else {
            self.submit(records, None).await.map_err(fail)?;
            callback.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let record = Record { kind: Kind::Truncate, place: place(&since), payload: Bytes::new() };
        self.submit_and_wait(record).await.map_err(|error| StorageIOError::write_logs(&error))?;
        let mut memory = self.memory.lock();
        while memory.recent.back().is_some_and(|(entry, _)| entry.log_id.index >= since.index) {
            memory.forget_last();
        }
        memory.last = self.shared.index.lock().last().map(log_id).or(memory.purged);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let write = async {
            let record = Record { kind: Kind::Purge, place: place(&upto), payload: encode(&upto)? };
            self.submit_and_wait(record).await
        };
        write.await.map_err(|error| StorageIOError::write_logs(&error))?;
        let mut memory = self.memory.lock();
        while memory.recent.front().is_some_and(|(entry, _)| entry.log_id.index <= upto.index) {
            memory.forget_first();
        }
        memory.purged = Some(upto);
        memory.last = memory.last.max(Some(upto));
        Ok(())
    }
}

/// The vote as a new life takes it. A leader may have sent entries that its own disk then lost; it must never write others
/// under the same term, so it does not lead again by its old right but asks for a new term.
fn reopened(vote: Vote<u64>, own: u64) -> Vote<u64> {
    let mut vote = vote;
    if mutant("lead-by-old-right") {
        return vote;
    }
    vote.committed &= vote.leader_id.node_id != own;
    vote
}

/// Where an entry goes on disk.
pub fn place(id: &LogId) -> Place {
    Place { index: id.index, term: id.leader_id.term, leader: id.leader_id.node_id }
}

/// An entry's name, from its place on disk.
pub fn log_id(place: Place) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(place.term, place.leader), place.index)
}

/// As it is written on disk.
///
/// # Errors
/// Where it cannot be.
pub fn encode<T: serde::Serialize>(value: &T) -> io::Result<Bytes> {
    rmp_serde::to_vec(value).map(Bytes::from).map_err(io::Error::other)
}

/// As it was written on disk.
///
/// # Errors
/// Where it is not readable.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &Bytes) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(io::Error::other)
}
