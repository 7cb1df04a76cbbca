//! Starts a store: lock, log, table, replay, consensus, keeper.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::contact::Contact;
use super::contacts::Contacts;
use super::forward::Forward;
use super::handle::{COMMIT_BYTES, COMMITS, Inner};
use super::log::{Log, owner};
use super::once::Tickets;
use super::raft::link::Wire;
use super::raft::log_store::LogStore;
use super::raft::machine::Machine;
use super::raft::peers::{Alone, Peers};
use super::raft::transfer::Receiver;
use super::raft::{Consensus, FIRST_VOTER};
use super::rounds::Rounds;
use super::table::{ImageTable, Table};
use super::witness::Witnessed;
use super::writer::{self, Shared};
use super::{Error, Store, disk_error, keeper, pulse};
use crate::world::World;

/// Where the log's writer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// On a thread of its own: for real disks, whose calls block.
    #[default]
    Thread,
    /// As a task that sleeps what the disk says it took: for the simulator.
    Task,
}

/// How a store without anything in its directory begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// It makes a cluster of which it is the only voter.
    #[default]
    Found,
    /// It waits until a leader adds it.
    Join,
}

/// How a store runs.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its directory; made where missing.
    pub dir: PathBuf,
    /// This node's name.
    pub node: String,
    /// This replica's number, never used before by another one of the cluster; [`FIRST_VOTER`] founds.
    pub raft_id: u64,
    /// How it begins.
    pub role: Role,
    /// Bound on finding a leader for a write or a linearizable read, and on its answer.
    pub patience: Duration,
    /// Where the writer runs.
    pub driver: Driver,
    /// Bytes of a log segment, allocated at once. At least 16 MiB outside tests.
    pub segment_bytes: u64,
    /// Bytes of log after which the state is persisted and the log dropped.
    pub snapshot_bytes: u64,
    /// History for watches and old reads is kept up to this many bytes.
    pub history_bytes: u64,
    /// History for watches and old reads is kept about this long.
    pub history_age: Duration,
    /// Who is told of every entry that is applied: nobody but in the simulator.
    pub witness: Witnessed,
}

impl StoreOptions {
    /// The shipped settings, in `dir`.
    pub fn new(dir: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            node: node.into(),
            raft_id: FIRST_VOTER,
            role: Role::Found,
            patience: Duration::from_secs(5),
            driver: Driver::Thread,
            segment_bytes: 16 * 1024 * 1024,
            snapshot_bytes: 64 * 1024 * 1024,
            history_bytes: 64 * 1024 * 1024,
            history_age: Duration::from_mins(5),
            witness: Witnessed::default(),
        }
    }
}

impl Store {
    /// Opens the store in `options.dir` without any other replica, replays its log, and leads.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub async fn open(options: StoreOptions, world: World) -> Result<Self, Error> {
        Self::open_with(options, Arc::new(Alone), world).await
    }

    /// Opens the store in `options.dir`, replays its log, and takes part: the only voter leads when this returns, another
    /// replica serves local reads from what it has. `peers` must not hold the store, which holds it.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it open, [`Error::Foreign`] where it belongs to another replica,
    /// [`Error::Damaged`] with the file's name, [`Error::Disk`], [`Error::DiskFull`].
    pub async fn open_with(options: StoreOptions, peers: Arc<dyn Peers>, world: World) -> Result<Self, Error> {
        let disk = world.disk.clone();
        disk.create_dir_all(&options.dir).map_err(|error| disk_error(&error))?;
        let lock = lock(&world, &options.dir)?;
        let mut salt = [0; 8];
        world.entropy.fill(&mut salt);
        let dir = options.dir.join("log");
        let log = Log::open(disk.clone(), &dir, options.segment_bytes, u64::from_le_bytes(salt))?;
        let used = log.index().lock().vote.is_some() || log.index().lock().last().is_some();
        owner::claim(&*disk, &options.dir, options.raft_id, used)?;
        let table: Box<dyn Table> = Box::new(ImageTable::open(disk.clone(), &options.dir.join("state"))?);
        let shared = Arc::new(Shared {
            index: log.index(),
            durable: watch::Sender::default(),
            latency: parking_lot::Mutex::default(),
            recent: parking_lot::Mutex::default(),
            space: parking_lot::Mutex::default(),
            disk,
            dir,
        });
        let (jobs, ended) = writer::start(log, shared.clone(), lock, options.driver)?;
        let log = LogStore::new(shared.clone(), jobs, options.raft_id)
            .map_err(|_| Error::Damaged(format!("{}: the log does not decode", options.dir.display())))?;
        let machine = Machine::load(table, shared.clone(), log.clone(), options.driver, options.raft_id)?;
        let machine = machine.witnessed_by(options.witness.clone());
        let failed = Arc::new(watch::Sender::default());
        let wire = Wire::new(peers, log.clone(), failed.clone());
        let (id, found) = ((options.raft_id, options.node.as_str()), options.role == Role::Found);
        let consensus = Consensus::start(id, found, log.clone(), machine, wire).await;
        let consensus = consensus.map_err(|error| shared.durable.borrow().failed.clone().unwrap_or(error))?;
        let tickets = Tickets::new(&mut world.entropy.fork());
        let inner = assemble(consensus, (log, tickets), shared, failed, ended, &options);
        keeper::start(&inner, &options);
        pulse::start(&inner, world.entropy.fork());
        Ok(Self::new(inner))
    }
}

fn assemble(
    consensus: Consensus,
    (log, tickets): (LogStore, Tickets),
    shared: Arc<Shared>,
    failed: Arc<watch::Sender<Option<Error>>>,
    writer: writer::Ended,
    options: &StoreOptions,
) -> Inner {
    let (state, applied) = (consensus.machine().state(), consensus.machine().revision());
    let forward = Forward {
        consensus: consensus.clone(),
        heard: Arc::default(),
        node: options.node.clone(),
        patience: options.patience,
        yields: Arc::default(),
    };
    Inner {
        consensus,
        log,
        state,
        applied,
        shared,
        failed,
        writer,
        commits: Semaphore::new(COMMITS),
        bytes: Semaphore::new(COMMIT_BYTES),
        raft_id: options.raft_id,
        kept_for_others: options.segment_bytes,
        forward,
        receiver: Receiver::default(),
        reads: Rounds::default(),
        contacts: Contacts::default(),
        caught_up: Arc::default(),
        contact: Arc::new(Contact::new(Instant::now())),
        tickets,
    }
}

pub(super) fn lock(world: &World, dir: &Path) -> Result<Box<dyn Send + Sync>, Error> {
    world.disk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked(format!(
            "{}: another shoal process has this data directory open; stop it first, or use another directory",
            dir.display()
        )),
        _ => disk_error(&error),
    })
}
