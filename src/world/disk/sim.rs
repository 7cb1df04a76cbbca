//! A disk in memory that loses power: what was not synced may be lost, torn or kept, as a seed decides.
//!
//! A node gets a [`SimDisk::boot`]; [`SimDisk::crash`] and [`SimDisk::kill`] make every handle of that boot useless, so
//! that what is left of a dead process cannot write. Directories are durable at once; names in them are not.

mod platter;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, RngCore, SeedableRng};

use self::platter::{Inode, NameChange, Pending, Platter, apply, write};
use super::{Disk, DiskFile};
use crate::world::entropy::Rng;

/// What a power cut writes whole or not at all.
pub const SECTOR: usize = 512;

/// What the disk does to those who use it. Nothing, by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Probability (0 to 1) that a sync fails; what it should have written is then never durable.
    pub sync_fails: f64,
    /// Probability (0 to 1) that a sync says yes and does nothing.
    pub sync_lies: f64,
    /// Least and greatest time that a sync takes.
    pub sync_takes: (Duration, Duration),
    /// Least and greatest time that what is written waits before the disk begins with it.
    pub queue_takes: (Duration, Duration),
    /// Bytes that fit; more is [`io::ErrorKind::StorageFull`].
    pub capacity: u64,
}

impl Default for Faults {
    fn default() -> Self {
        let none = (Duration::ZERO, Duration::ZERO);
        Self { sync_fails: 0.0, sync_lies: 0.0, sync_takes: none, queue_takes: none, capacity: u64::MAX }
    }
}

/// The disk itself; survives crashes. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Platter>>);

/// The disk as one boot of a node sees it.
struct Boot {
    platter: Arc<Mutex<Platter>>,
    generation: u64,
}

struct Handle {
    platter: Arc<Mutex<Platter>>,
    generation: u64,
    file: u64,
}

struct Lock {
    platter: Arc<Mutex<Platter>>,
    generation: u64,
    path: PathBuf,
}

impl SimDisk {
    /// An empty disk whose faults `seed` decides.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            generation: 0,
            dead: false,
            fuse: None,
            changes: 0,
            faults: Faults::default(),
            rng: Rng::seed_from_u64(seed),
            delay: Duration::ZERO,
            dirs: BTreeSet::new(),
            locks: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            journal: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
        })))
    }

    /// The disk for one life of a node.
    pub fn boot(&self) -> Arc<dyn Disk> {
        let generation = self.0.lock().generation;
        Arc::new(Boot { platter: self.0.clone(), generation })
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// The power goes at the `changes`th write, sync or name change from now (0: at the next): it fails and so does
    /// all that follows. Call [`SimDisk::crash`] then.
    pub fn lose_power_after(&self, changes: u64) {
        self.0.lock().fuse = Some(changes);
    }

    /// Writes, syncs and name changes so far.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Whether the power has gone and [`SimDisk::crash`] is due.
    pub fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    /// Cuts the power: handles of this boot die, and of what was not synced `rng` decides what is left.
    pub fn crash(&self, rng: &mut dyn RngCore) {
        let mut platter = self.0.lock();
        platter.lose_names(rng);
        for inode in platter.files.values_mut() {
            inode.lose(rng);
        }
        let named: BTreeSet<u64> = platter.names.values().copied().collect();
        platter.files.retain(|id, _| named.contains(id));
        platter.end_boot();
    }

    /// Ends the process only (`kill -9`): handles of this boot die, what was written stays.
    pub fn kill(&self) {
        self.0.lock().end_boot();
    }

    /// Bytes that are in use.
    pub fn used(&self) -> u64 {
        self.0.lock().files.values().map(|inode| inode.live.len() as u64).sum()
    }

    /// Bytes of `path` up to its last one that is not zero.
    pub fn written(&self, path: &Path) -> usize {
        let platter = self.0.lock();
        let inode = platter.names.get(path).and_then(|id| platter.files.get(id));
        inode.and_then(|inode| inode.live.iter().rposition(|byte| *byte != 0)).map_or(0, |at| at + 1)
    }

    /// A copy of what the disk would hold after a power cut now.
    pub fn copy(&self) -> Self {
        let mut copy = self.0.lock().clone();
        copy.names.clone_from(&copy.durable_names);
        copy.journal.clear();
        for inode in copy.files.values_mut() {
            inode.pending.clear();
            inode.live.clone_from(&inode.durable);
        }
        copy.end_boot();
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Puts back what `copy` holds; handles of this boot die.
    pub fn restore(&self, copy: &Self) {
        let copy = copy.copy();
        let mut platter = self.0.lock();
        let generation = platter.generation;
        std::mem::swap(&mut *platter, &mut copy.0.lock());
        platter.generation = generation;
        platter.end_boot();
    }

    /// Flips one bit of what is durable and live in `path`, for tests of damage.
    pub fn flip(&self, path: &Path, at: usize) {
        let mut platter = self.0.lock();
        let Some(id) = platter.names.get(path).copied() else { return };
        let Some(inode) = platter.files.get_mut(&id) else { return };
        for bytes in [&mut inode.live, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
        }
    }
}

impl Disk for Boot {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.check(self.generation)?;
        platter.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let platter = self.platter.lock();
        platter.check(self.generation)?;
        if !platter.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(platter.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut platter = self.platter.lock();
        platter.check(self.generation)?;
        let file = match platter.names.get(path) {
            Some(file) => *file,
            None if !create => return Err(io::ErrorKind::NotFound.into()),
            None => {
                platter.change(self.generation)?;
                platter.next_file += 1;
                let file = platter.next_file;
                platter.files.insert(file, Inode::default());
                platter.rename(NameChange::Set(path.to_owned(), file));
                file
            }
        };
        Ok(Box::new(Handle { platter: self.platter.clone(), generation: self.generation, file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.change(self.generation)?;
        if !platter.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        platter.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.change(self.generation)?;
        if !platter.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        platter.rename(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.change(self.generation)?;
        let (synced, rest) = std::mem::take(&mut platter.journal).into_iter().partition(|change| change.dir() == dir);
        platter.journal = rest;
        let synced: Vec<NameChange> = synced;
        for change in &synced {
            apply(&mut platter.durable_names, change);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut platter = self.platter.lock();
        platter.check(self.generation)?;
        if !platter.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { platter: self.platter.clone(), generation: self.generation, path: path.to_owned() }))
    }

    fn queue_delay(&self) -> Duration {
        let mut platter = self.platter.lock();
        let (least, most) = platter.faults.queue_takes;
        if most.is_zero() { most } else { platter.rng.random_range(least..=most.max(least)) }
    }

    fn take_delay(&self) -> Duration {
        std::mem::take(&mut self.platter.lock().delay)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut platter = self.platter.lock();
        if platter.generation == self.generation {
            platter.locks.remove(&self.path);
        }
    }
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        let mut platter = self.platter.lock();
        platter.check(self.generation)?;
        Ok(platter.inode(self.file)?.live.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut platter = self.platter.lock();
        platter.check(self.generation)?;
        let live = &platter.inode(self.file)?.live;
        let rest = usize::try_from(offset).ok().and_then(|at| live.get(at..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let mut platter = self.platter.lock();
        platter.change(self.generation)?;
        platter.check_room(self.file, offset + bytes.len())?;
        let inode = platter.inode(self.file)?;
        write(&mut inode.live, offset, bytes);
        inode.pending.push(Pending::Write(offset, bytes.to_owned()));
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut platter = self.platter.lock();
        platter.change(self.generation)?;
        platter.check_room(self.file, len)?;
        let inode = platter.inode(self.file)?;
        inode.live.resize(len, 0);
        inode.pending.push(Pending::Len(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.change(self.generation)?;
        platter.sync(self.file)
    }
}
