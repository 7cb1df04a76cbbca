//! Starts a store: lock, log, table, replay, consensus, keeper.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::handle::{COMMIT_BYTES, COMMITS, Inner};
use super::log::Log;
use super::raft::log_store::LogStore;
use super::raft::machine::Machine;
use super::raft::peers::Alone;
use super::raft::{Consensus, FIRST_VOTER};
use super::table::{ImageTable, Table};
use super::writer::{self, Shared};
use super::{Error, Store, disk_error, keeper};
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

/// How a store runs.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its directory; made where missing.
    pub dir: PathBuf,
    /// This node's name.
    pub node: String,
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
}

impl StoreOptions {
    /// The shipped settings, in `dir`.
    pub fn new(dir: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            node: node.into(),
            driver: Driver::Thread,
            segment_bytes: 16 * 1024 * 1024,
            snapshot_bytes: 64 * 1024 * 1024,
            history_bytes: 64 * 1024 * 1024,
            history_age: Duration::from_mins(5),
        }
    }
}

impl Store {
    /// Opens the store in `options.dir`, replays its log, and leads.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it open, [`Error::Damaged`] with the file's name, [`Error::Disk`],
    /// [`Error::DiskFull`].
    pub async fn open(options: StoreOptions, world: World) -> Result<Self, Error> {
        let disk = world.disk.clone();
        disk.create_dir_all(&options.dir).map_err(|error| disk_error(&error))?;
        let lock = lock(&world, &options.dir)?;
        let mut salt = [0; 8];
        world.entropy.fill(&mut salt);
        let dir = options.dir.join("log");
        let log = Log::open(disk.clone(), &dir, options.segment_bytes, u64::from_le_bytes(salt))?;
        let table: Box<dyn Table> = Box::new(ImageTable::open(disk.clone(), &options.dir.join("state"))?);
        let shared = Arc::new(Shared {
            index: log.index(),
            durable: watch::Sender::default(),
            latency: parking_lot::Mutex::default(),
            space: parking_lot::Mutex::default(),
            disk,
            dir,
        });
        let (jobs, ended) = writer::start(log, shared.clone(), lock, options.driver)?;
        let log = LogStore::new(shared.clone(), jobs)
            .map_err(|_| Error::Damaged(format!("{}: the log does not decode", options.dir.display())))?;
        let machine = Machine::load(table, shared.clone(), log.clone(), options.driver)?;
        let (state, applied) = (machine.state(), machine.revision());
        let consensus =
            Consensus::start(FIRST_VOTER, options.node.clone(), log.clone(), machine, Arc::new(Alone)).await;
        let consensus = consensus.map_err(|error| shared.durable.borrow().failed.clone().unwrap_or(error))?;
        let inner = Inner {
            consensus,
            log,
            state,
            applied,
            shared,
            failed: Arc::default(),
            writer: ended,
            commits: Semaphore::new(COMMITS),
            bytes: Semaphore::new(COMMIT_BYTES),
        };
        keeper::start(&inner, &options);
        Ok(Self::new(inner))
    }
}

fn lock(world: &World, dir: &Path) -> Result<Box<dyn Send + Sync>, Error> {
    world.disk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked(format!(
            "{}: another shoal process has this data directory open; stop it first, or use another directory",
            dir.display()
        )),
        _ => disk_error(&error),
    })
}
