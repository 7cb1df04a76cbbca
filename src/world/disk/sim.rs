//! A disk in memory that loses power: what was not synced may be lost, torn or kept, as a seed decides.
//!
//! A node gets a [`SimDisk::boot`]; [`SimDisk::crash`] and [`SimDisk::kill`] make every handle of that boot useless, so
//! that what is left of a dead process cannot write. Directories are durable at once; names in them are not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, RngCore, SeedableRng};

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
    /// Bytes that fit; more is [`io::ErrorKind::StorageFull`].
    pub capacity: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { sync_fails: 0.0, sync_lies: 0.0, sync_takes: (Duration::ZERO, Duration::ZERO), capacity: u64::MAX }
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

struct Platter {
    generation: u64,
    dead: bool,
    /// Changes left until the power goes.
    fuse: Option<u64>,
    changes: u64,
    faults: Faults,
    rng: Rng,
    delay: Duration,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Name changes that are not durable, oldest first.
    journal: Vec<NameChange>,
    files: BTreeMap<u64, Inode>,
    next_file: u64,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Default, Clone)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Len(usize),
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

impl Platter {
    fn end_boot(&mut self) {
        self.generation += 1;
        self.dead = false;
        self.fuse = None;
        self.delay = Duration::ZERO;
        self.locks.clear();
    }

    fn check(&self, generation: u64) -> io::Result<()> {
        if self.dead || generation != self.generation {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    /// Counts a change, and cuts the power where it is due.
    fn change(&mut self, generation: u64) -> io::Result<()> {
        self.check(generation)?;
        self.changes += 1;
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Err(io::Error::other("the power is gone"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn inode(&mut self, file: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn check_room(&mut self, file: u64, len: usize) -> io::Result<()> {
        let used: usize = self.files.values().map(|inode| inode.live.len()).sum();
        let grows = len.saturating_sub(self.inode(file)?.live.len());
        if grows > 0 && (used + grows) as u64 > self.faults.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn rename(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.journal.push(change);
    }

    /// Of the name changes of each directory a prefix survives.
    fn lose_names(&mut self, rng: &mut dyn RngCore) {
        let journal = std::mem::take(&mut self.journal);
        let dirs: BTreeSet<PathBuf> = journal.iter().map(|change| change.dir().to_owned()).collect();
        for dir in dirs {
            let changes: Vec<_> = journal.iter().filter(|change| change.dir() == dir).collect();
            let kept = rng.random_range(0..=changes.len());
            for change in changes.into_iter().take(kept) {
                apply(&mut self.durable_names, change);
            }
        }
        self.names.clone_from(&self.durable_names);
    }

    fn sync(&mut self, file: u64) -> io::Result<()> {
        let (least, most) = self.faults.sync_takes;
        self.delay += self.rng.random_range(least..=most.max(least));
        let (fails, lies) = (self.faults.sync_fails.clamp(0.0, 1.0), self.faults.sync_lies.clamp(0.0, 1.0));
        let (fails, lies) = (self.rng.random_bool(fails), self.rng.random_bool(lies));
        let inode = self.inode(file)?;
        let pending = std::mem::take(&mut inode.pending);
        if fails {
            return Err(io::Error::other("the disk could not sync"));
        }
        if !lies {
            for change in &pending {
                change.apply(&mut inode.durable);
            }
        }
        Ok(())
    }
}

impl NameChange {
    fn dir(&self) -> &Path {
        let (Self::Set(path, _) | Self::Rename(_, path) | Self::Remove(path)) = self;
        path.parent().unwrap_or(path)
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Set(path, id) => drop(names.insert(path.clone(), *id)),
        NameChange::Remove(path) => drop(names.remove(path)),
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Len(len) => bytes.resize(*len, 0),
            Self::Write(offset, data) => write(bytes, *offset, data),
        }
    }
}

impl Inode {
    /// Each unsynced change is kept, dropped, cut short, or kept sector by sector.
    fn lose(&mut self, rng: &mut dyn RngCore) {
        let mut left = self.durable.clone();
        for change in std::mem::take(&mut self.pending) {
            match change {
                Pending::Len(_) if rng.random_bool(0.5) => change.apply(&mut left),
                Pending::Len(_) => {}
                Pending::Write(offset, data) => tear(&mut left, offset, &data, rng),
            }
        }
        self.live.clone_from(&left);
        self.durable = left;
    }
}

fn tear(bytes: &mut Vec<u8>, offset: usize, data: &[u8], rng: &mut dyn RngCore) {
    let style = rng.random_range(0..4);
    let cut = rng.random_range(0..=data.len());
    let mut at = 0;
    while at < data.len() {
        // Sectors are those of the disk, not of the write.
        let end = (at + SECTOR - (offset + at) % SECTOR).min(data.len());
        let keep = match style {
            0 => false,
            1 => true,
            2 => end <= cut,
            _ => rng.random_bool(0.5),
        };
        if let (true, Some(sector)) = (keep, data.get(at..end)) {
            write(bytes, offset + at, sector);
        }
        at = end;
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(data);
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
