//! The state machine as openraft wants it: waits until entries are durable, applies them to memory, tells watchers.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageIOError, StoredMembership};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::log_store::LogStore;
use super::{Command, LogId, Peer, Reply, StorageError, Types, revision_of};
use crate::model::Revision;
use crate::store::mutant::mutant;
use crate::store::mvcc::{Image, Mvcc};
use crate::store::table::Table;
use crate::store::witness::{self, Content, Witnessed};
use crate::store::writer::Shared;
use crate::store::{Driver, Error};

type Entry = openraft::Entry<Types>;
type Membership = StoredMembership<u64, Peer>;

/// Versions that are replaced by those of an image at a time, while nobody else reads or writes the state.
const ADOPTED: usize = 256;

/// The consensus layer's part of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Applied {
    last: Option<LogId>,
    membership: Membership,
}

/// The table, and the revision that it holds.
struct Kept {
    table: Box<dyn Table>,
    revision: Revision,
}

/// The state machine. Clones share it; only openraft's copy applies.
#[derive(Clone)]
pub struct Machine {
    state: Arc<RwLock<Mvcc>>,
    applied: Arc<Mutex<Applied>>,
    revision: Arc<watch::Sender<Revision>>,
    disk: Arc<Mutex<Kept>>,
    shared: Arc<Shared>,
    log: LogStore,
    driver: Driver,
    /// Persisted, and not yet taken over by raft.
    prepared: Arc<Mutex<Option<Snapshot<Types>>>>,
    witness: Witnessed,
}

impl Machine {
    /// Starts from the table's last persisted state.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it does not decode or the log is behind it; [`Error::Disk`].
    pub fn load(
        mut table: Box<dyn Table>,
        shared: Arc<Shared>,
        log: LogStore,
        driver: Driver,
        own: u64,
    ) -> Result<Self, Error> {
        let image = table.load()?.unwrap_or_default();
        let applied = applied_of(&image)?;
        check_log_reaches(&applied, &shared, own)?;
        log.saw(applied.membership.membership());
        let state = Mvcc::from_image(&image);
        let revision = state.applied();
        Ok(Self {
            state: Arc::new(RwLock::new(state)),
            applied: Arc::new(Mutex::new(applied)),
            revision: Arc::new(watch::Sender::new(revision)),
            disk: Arc::new(Mutex::new(Kept { table, revision })),
            shared,
            log,
            driver,
            prepared: Arc::default(),
            witness: Witnessed::default(),
        })
    }

    /// Tells `witness` of every entry from now on.
    pub fn witnessed_by(self, witness: Witnessed) -> Self {
        Self { witness, ..self }
    }

    /// The memory that readers see.
    pub fn state(&self) -> Arc<RwLock<Mvcc>> {
        self.state.clone()
    }

    /// Tells of each applied revision.
    pub fn revision(&self) -> Arc<watch::Sender<Revision>> {
        self.revision.clone()
    }

    /// The committed membership: since which entry, and whose numbers.
    pub fn members(&self) -> (Option<LogId>, BTreeSet<u64>) {
        let applied = self.applied.lock();
        let ids = applied.membership.membership().nodes().map(|(id, _)| *id).collect();
        (*applied.membership.log_id(), ids)
    }

    async fn wait_durable(&self, index: u64) -> io::Result<()> {
        if mutant("answer-before-durable") {
            return Ok(());
        }
        self.log.durable(index).await
    }

    fn apply_one(&self, state: &mut Mvcc, applied: &mut Applied, entry: &Entry) -> Reply {
        let reply = apply_one(state, applied, entry);
        if let Some(witness) = &self.witness.0 {
            let (term, leader) = (entry.log_id.leader_id.term, entry.log_id.leader_id.node_id);
            // A repeat of what an earlier entry did does nothing.
            let (index, done) = (entry.log_id.index, reply.as_ref().is_ok_and(|by| *by == revision_of(&entry.log_id)));
            witness.applied(witness::Applied { term, leader, index, content: content(&entry.payload), done });
        }
        reply
    }

    fn image(&self) -> Result<(Image, Applied), Error> {
        let state = self.state.read();
        let mut applied = self.applied.lock().clone();
        let mut image = state.image();
        if mutant("lose-fences-in-snapshot") {
            image.fences.clear();
        }
        if mutant("lose-tickets-in-snapshot") {
            image.done.clear();
        }
        if mutant("lose-history-in-snapshot") {
            image.history.clear();
        }
        if mutant("lose-members-in-snapshot") {
            applied.membership = Membership::default();
        }
        image.consensus = rmp_serde::to_vec(&applied).map_err(|_| Error::Unavailable)?;
        Ok((image, applied))
    }

    /// Persists the state, so that the snapshot that raft asks for next needs no disk: a full disk must not end raft.
    /// Gives the last entry in it and its size in bytes.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`]; the last persisted state is still there.
    pub async fn prepare(&self) -> Result<(Option<LogId>, u64), Error> {
        let (image, applied) = self.image()?;
        let last = applied.last;
        let (image, bytes) = self.persist(image).await?;
        *self.prepared.lock() = Some(snapshot(image, applied));
        Ok((last, bytes))
    }

    /// Makes `image` durable, unless a newer one is already: a leader may have sent one meanwhile, and what its log covers
    /// is dropped.
    async fn persist(&self, image: Image) -> Result<(Image, u64), Error> {
        let (disk, state) = (self.disk.clone(), self.state.clone());
        let write = move || {
            let mut kept = disk.lock();
            if image.applied < kept.revision {
                return Ok((image, 0));
            }
            let bytes = kept.table.persist(&image)?;
            kept.revision = image.applied;
            let Some(lean) = kept.table.lean()? else { return Ok((image, bytes)) };
            drop(image);
            // Readers and writers get their turns in between.
            for records in lean.base.chunks(ADOPTED) {
                state.write().adopt(records);
            }
            Ok((lean, bytes))
        };
        match self.driver {
            Driver::Thread => tokio::task::spawn_blocking(write).await.map_err(|_| Error::Unavailable)?,
            Driver::Task => {
                let written = write();
                tokio::time::sleep(self.shared.disk.take_delay()).await;
                written
            }
        }
    }
}

/// The last entry that an image holds.
///
/// # Errors
/// [`Error::Damaged`] where its consensus part does not decode.
pub fn applied_by(image: &Image) -> Result<Option<LogId>, Error> {
    applied_of(image).map(|applied| applied.last)
}

fn applied_of(image: &Image) -> Result<Applied, Error> {
    if image.consensus.is_empty() {
        return Ok(Applied::default());
    }
    let damaged = |_| Error::Damaged("the state's consensus part is not readable".into());
    rmp_serde::from_slice(&image.consensus).map_err(damaged)
}

/// A single voter persists only what its log held: a log that ends before is not the one that belongs to the state. Another
/// replica may have been given the state and have lost its power before it noted that in the log.
fn check_log_reaches(applied: &Applied, shared: &Shared, own: u64) -> Result<(), Error> {
    let index = shared.index.lock();
    let reached =
        index.last().into_iter().chain(index.purged.as_ref().map(|(place, _)| *place)).map(|place| place.index);
    let behind = applied.last.map(|last| last.index) > reached.max();
    if behind && applied.membership.voter_ids().all(|voter| voter == own) {
        return Err(Error::Damaged(format!(
            "{}: the log ends before the state was persisted; a segment is missing. Nothing was lost by this start. \
             Restore the data directory from a copy, or move it away to start empty",
            shared.dir.display()
        )));
    }
    Ok(())
}

/// What an entry asks, for a witness.
fn content(payload: &EntryPayload<Types>) -> Content<'_> {
    match payload {
        EntryPayload::Normal(Command::Txn(txn) | Command::Once(_, txn)) => Content::Txn(txn),
        EntryPayload::Normal(Command::Compact(at)) => Content::Compact(*at),
        EntryPayload::Membership(_) => Content::Members,
        EntryPayload::Blank => Content::Blank,
    }
}

/// Applies one entry; its index is the revision.
fn apply_one(state: &mut Mvcc, applied: &mut Applied, entry: &Entry) -> Reply {
    let revision = revision_of(&entry.log_id);
    applied.last = Some(entry.log_id);
    match &entry.payload {
        EntryPayload::Normal(Command::Txn(txn)) => return state.apply(txn, revision).map(|()| revision),
        EntryPayload::Normal(Command::Once(ticket, txn)) => return state.apply_once(ticket, txn, revision),
        EntryPayload::Normal(Command::Compact(at)) => state.compact(*at),
        EntryPayload::Membership(membership) => {
            applied.membership = Membership::new(Some(entry.log_id), membership.clone());
        }
        EntryPayload::Blank => {}
    }
    state.skip(revision);
    Ok(revision)
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let applied = self.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(Vec::new()) };
        self.wait_durable(last.index).await.map_err(|error| StorageIOError::apply(last, &error))?;
        if mutant("apply-out-of-order") {
            entries.rotate_right(1);
        }
        let replies = {
            let mut state = self.state.write();
            let mut applied = self.applied.lock();
            entries.iter().map(|entry| self.apply_one(&mut state, &mut applied, entry)).collect()
        };
        self.revision.send_replace(revision_of(&last));
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Image>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta<u64, Peer>, image: Box<Image>) -> Result<(), StorageError> {
        let applied: Applied =
            rmp_serde::from_slice(&image.consensus).map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        self.log.saw(applied.membership.membership());
        let (image, _) = self.persist(*image).await.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        let new = Mvcc::from_image(&image);
        let revision = new.applied();
        {
            // Together, as whoever makes an image reads them.
            let mut state = self.state.write();
            *self.applied.lock() = applied;
            *state = new;
        }
        if let Some(witness) = &self.witness.0 {
            witness.installed(revision.0);
        }
        self.revision.send_replace(revision);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let (image, applied) = self.image().map_err(|error| StorageIOError::read_state_machine(&error))?;
        Ok(applied.last.map(|_| snapshot(image, applied)))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        if let Some(prepared) = self.prepared.lock().take() {
            return Ok(prepared);
        }
        let (image, applied) = self.image().map_err(|error| StorageIOError::read_state_machine(&error))?;
        let (image, _) = self.persist(image).await.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(snapshot(image, applied))
    }
}

fn snapshot(image: Image, applied: Applied) -> Snapshot<Types> {
    let meta = SnapshotMeta {
        last_log_id: applied.last,
        last_membership: applied.membership,
        snapshot_id: format!("at-{}", image.applied),
    };
    Snapshot { meta, snapshot: Box::new(image) }
}
