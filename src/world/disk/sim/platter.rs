//! What the simulated disk holds: files with what is live, what is durable, and what lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{Rng as _, RngCore};

use super::{Faults, SECTOR};
use crate::world::entropy::Rng;

#[derive(Clone)]
pub(super) struct Platter {
    pub(super) generation: u64,
    pub(super) dead: bool,
    /// Changes left until the power goes.
    pub(super) fuse: Option<u64>,
    pub(super) changes: u64,
    pub(super) faults: Faults,
    pub(super) rng: Rng,
    pub(super) delay: Duration,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    /// Name changes that are not durable, oldest first.
    pub(super) journal: Vec<NameChange>,
    pub(super) files: BTreeMap<u64, Inode>,
    pub(super) next_file: u64,
}

#[derive(Clone)]
pub(super) enum NameChange {
    Set(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Default, Clone)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Pending>,
}

#[derive(Clone)]
pub(super) enum Pending {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Platter {
    pub(super) fn end_boot(&mut self) {
        self.generation += 1;
        self.dead = false;
        self.fuse = None;
        self.delay = Duration::ZERO;
        self.locks.clear();
    }

    pub(super) fn check(&self, generation: u64) -> io::Result<()> {
        if self.dead || generation != self.generation {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    /// Counts a change, and cuts the power where it is due.
    pub(super) fn change(&mut self, generation: u64) -> io::Result<()> {
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

    pub(super) fn inode(&mut self, file: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn check_room(&mut self, file: u64, len: usize) -> io::Result<()> {
        let used: usize = self.files.values().map(|inode| inode.live.len()).sum();
        let grows = len.saturating_sub(self.inode(file)?.live.len());
        if grows > 0 && (used + grows) as u64 > self.faults.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.journal.push(change);
    }

    /// Of the name changes of each directory a prefix survives.
    pub(super) fn lose_names(&mut self, rng: &mut dyn RngCore) {
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

    pub(super) fn sync(&mut self, file: u64) -> io::Result<()> {
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
    pub(super) fn dir(&self) -> &Path {
        let (Self::Set(path, _) | Self::Rename(_, path) | Self::Remove(path)) = self;
        path.parent().unwrap_or(path)
    }
}

pub(super) fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
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
    pub(super) fn lose(&mut self, rng: &mut dyn RngCore) {
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

pub(super) fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(data);
    }
}
