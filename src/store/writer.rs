//! The one writer: takes all that waits, writes it as one unit, syncs once, tells everybody.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::log::Log;
use super::log::frame::{Kind, Record};
use super::log::index::Index;
use super::stats::{Latency, Recent};
use super::{Driver, Error, disk_error};
use crate::world::disk::Disk;

/// Bound on jobs that wait for the writer; who adds one more waits.
pub const QUEUE: usize = 4096;
/// A unit is closed once its records hold this many bytes.
pub const UNIT_BYTES: usize = 4 * 1024 * 1024;

/// Where there is no room for the next segment, looking for some takes at most one in so many parts of the writer's time:
/// on a disk that is nearly full each look allocates what is left and gives it back.
const LOOK_PART: u32 = 20;

/// Told once its job is durable, or why it is not.
pub type Ack = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Records to make durable, in order with all other jobs.
pub struct Job {
    /// What to write.
    pub records: Vec<Record>,
    /// Index up to which raft knows the log to be committed.
    pub committed: u64,
    /// Who waits.
    pub ack: Option<Ack>,
    /// Whether the writer ends after this one.
    pub end: bool,
}

impl Job {
    /// Ends the writer.
    pub fn end() -> Self {
        Self { records: Vec::new(), committed: 0, ack: None, end: true }
    }
}

/// How far the log is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durable {
    /// Entries below this index are durable.
    pub next: u64,
    /// Why nothing more will be.
    pub failed: Option<Error>,
}

/// What the writer shows to others.
pub struct Shared {
    /// Where the durable log lies.
    pub index: Arc<Mutex<Index>>,
    /// How far it reaches.
    pub durable: watch::Sender<Durable>,
    /// How long syncs took.
    pub latency: Mutex<Latency>,
    /// How long they took of late, the one that runs included.
    pub recent: Mutex<Recent>,
    /// Figures of the log's files.
    pub space: Mutex<Space>,
    /// Files, to read from.
    pub disk: Arc<dyn Disk>,
    /// Where the segments are.
    pub dir: PathBuf,
}

/// Figures of the log's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Space {
    /// Bytes of log on disk.
    pub bytes: u64,
    /// Whether the next segment could not be allocated.
    pub full: bool,
    /// Bytes left in the segment being written.
    pub room: u64,
}

struct Writer {
    log: Log,
    shared: Arc<Shared>,
    /// No room for the next segment is looked for before.
    look_after: Option<Instant>,
    _lock: Box<dyn Send + Sync>,
}

/// Runs the writer until every sender of the returned queue is gone.
pub fn start(
    log: Log,
    shared: Arc<Shared>,
    lock: Box<dyn Send + Sync>,
    driver: Driver,
) -> Result<(mpsc::Sender<Job>, Ended), Error> {
    let (jobs, queue) = mpsc::channel(QUEUE);
    let (done, ended) = watch::channel(false);
    let mut writer = Writer { log, shared, look_after: None, _lock: lock };
    writer.publish();
    match driver {
        Driver::Thread => {
            let thread = std::thread::Builder::new().name("store-writer".into());
            thread
                .spawn(move || {
                    writer.run_blocking(queue);
                    drop(writer);
                    done.send_replace(true);
                })
                .map_err(|error| disk_error(&error))?;
        }
        Driver::Task => {
            tokio::spawn(async move {
                writer.run(queue).await;
                drop(writer);
                done.send_replace(true);
            });
        }
    }
    Ok((jobs, Ended(ended)))
}

/// Tells when the writer has ended, which releases the lock of the directory.
#[derive(Clone)]
pub struct Ended(watch::Receiver<bool>);

impl Ended {
    /// Waits for it.
    pub async fn wait(&mut self) {
        let _ = self.0.wait_for(|ended| *ended).await;
    }
}

impl Writer {
    fn run_blocking(&mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let batch = gather(first, &mut queue);
            let started = Instant::now();
            self.shared.recent.lock().begin(started);
            let result = self.commit(&batch);
            let end = batch.iter().any(|job| job.end);
            self.finish(batch, &result, started.elapsed());
            if end {
                return;
            }
        }
    }

    async fn run(&mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            let waits = self.shared.disk.queue_delay();
            if !waits.is_zero() {
                tokio::time::sleep(waits).await;
            }
            let batch = gather(first, &mut queue);
            self.shared.recent.lock().begin(Instant::now());
            let result = self.commit(&batch);
            let took = self.shared.disk.take_delay();
            if !took.is_zero() {
                tokio::time::sleep(took).await;
            }
            let end = batch.iter().any(|job| job.end);
            self.finish(batch, &result, took);
            if end {
                return;
            }
        }
    }

    fn commit(&mut self, batch: &[Job]) -> io::Result<()> {
        let records: Vec<Record> = batch.iter().flat_map(|job| job.records.iter().cloned()).collect();
        if records.is_empty() {
            return Ok(());
        }
        let committed = batch.iter().map(|job| job.committed).max().unwrap_or(0);
        self.log.append(&records, committed)?;
        if records.iter().any(|record| record.kind == Kind::Purge) {
            self.log.trim()?;
            self.look_after = None;
        }
        Ok(())
    }

    /// Whether the next segment is allocated, or can be.
    fn reserve(&mut self) -> bool {
        let began = Instant::now();
        if self.look_after.is_some_and(|after| began < after) {
            return false;
        }
        let reserved = self.log.reserve();
        self.look_after = (!reserved).then(|| Instant::now() + began.elapsed() * LOOK_PART);
        reserved
    }

    fn finish(&mut self, batch: Vec<Job>, result: &io::Result<()>, took: Duration) {
        self.shared.recent.lock().end(Instant::now());
        match result {
            Ok(()) => {
                self.shared.latency.lock().add(took);
                self.publish();
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be written; the store stops");
                // Also where the disk is full: what was written of it may be found by the next start.
                let failed = Some(Error::Disk);
                self.shared.durable.send_modify(|durable| durable.failed = failed);
            }
        }
        for ack in batch.into_iter().filter_map(|job| job.ack) {
            ack(copy(result));
        }
    }

    /// Shows the durable state, and only it.
    fn publish(&mut self) {
        let full = !self.reserve();
        *self.shared.space.lock() = Space { bytes: self.log.bytes(), full, room: self.log.room() };
        let index = self.shared.index.lock();
        let next =
            index.last().or_else(|| index.purged.as_ref().map(|(place, _)| *place)).map_or(0, |last| last.index + 1);
        drop(index);
        self.shared.durable.send_modify(|durable| durable.next = next);
    }
}

/// All that waits, up to a unit.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut size = weigh(&first);
    let mut batch = vec![first];
    while size < UNIT_BYTES {
        let Ok(job) = queue.try_recv() else { break };
        size += weigh(&job);
        batch.push(job);
    }
    batch
}

/// The same result once more; an `io::Error` cannot be cloned.
fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

fn weigh(job: &Job) -> usize {
    job.records.iter().map(|record| record.payload.len()).sum()
}
