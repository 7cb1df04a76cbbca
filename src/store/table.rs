//! The state machine's disk: an image per persist, written beside the last one and renamed over.

pub mod image;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mvcc::Image;
use super::{Error, disk_error};
use crate::world::disk::Disk;

/// Keeps the state machine's state across restarts. The log is the durability of what came after the last persist.
pub trait Table: Send + 'static {
    /// The state of the last persist; `None` before the first.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the file's name, [`Error::Disk`].
    fn load(&mut self) -> Result<Option<Image>, Error>;
    /// Makes `image` what the next load gives; gives its size in bytes.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Disk`]; the last persisted state is still there then.
    fn persist(&mut self, image: &Image) -> Result<u64, Error>;
    /// The state of the last persist with values that stay on the disk until they are looked at; `None` where it is small.
    ///
    /// # Errors
    /// As [`Table::load`].
    fn lean(&mut self) -> Result<Option<Image>, Error>;
}

/// Values of images from this size on stay in the file.
const LENT_FROM: u64 = 16 * 1024 * 1024;

/// A table that keeps one image file.
pub struct ImageTable {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl ImageTable {
    /// Keeps images in `dir`, which is made.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        disk.create_dir_all(dir).map_err(|error| disk_error(&error))?;
        Ok(Self { disk, dir: dir.to_owned() })
    }

    fn images(&self) -> Result<Vec<PathBuf>, Error> {
        let mut names = self.disk.list(&self.dir).map_err(|error| disk_error(&error))?;
        names.retain(|name| name.extension().is_some_and(|extension| extension == "image"));
        Ok(names)
    }

    /// The newest image; only where it lends its values if `lean`.
    fn read(&self, lean: bool) -> Result<Option<Image>, Error> {
        let Some(path) = self.images()?.pop() else { return Ok(None) };
        let file = self.disk.open(&path, false).map_err(|error| disk_error(&error))?;
        let lends = file.len().map_err(|error| disk_error(&error))? >= LENT_FROM;
        if lean && !lends {
            return Ok(None);
        }
        let lent = lends.then(|| file.lend()).transpose().map_err(|error| disk_error(&error))?;
        let image = image::decode(&mut |offset, out| file.read_at(offset, out), lent).map_err(|error| match error {
            image::ReadError::Disk(error) => disk_error(&error),
            image::ReadError::Damaged(what) => Error::Damaged(format!(
                "{}: {what}. Nothing was changed. Restore the data directory from a copy, or move it away to start empty",
                path.display()
            )),
        })?;
        Ok(Some(image))
    }

    fn write(&self, image: &Image) -> std::io::Result<(PathBuf, u64)> {
        let path = self.dir.join(format!("{:020}.image", image.applied.0));
        let new = self.dir.join("new");
        let mut file = self.disk.open(&new, true)?;
        file.set_len(0)?;
        let mut at = 0;
        image::encode(image, &mut |chunk| {
            file.write_at(at, chunk)?;
            at += chunk.len() as u64;
            Ok(())
        })?;
        file.sync()?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_dir(&self.dir)?;
        Ok((path, at))
    }
}

impl Table for ImageTable {
    fn load(&mut self) -> Result<Option<Image>, Error> {
        // A name that the last process could not make durable must be, before anything builds on it.
        self.disk.sync_dir(&self.dir).map_err(|error| disk_error(&error))?;
        self.read(false)
    }

    fn persist(&mut self, image: &Image) -> Result<u64, Error> {
        let (written, bytes) = self.write(image).map_err(|error| {
            // Half an image must not hold the room that a full disk needs.
            let _ = self.disk.remove(&self.dir.join("new"));
            disk_error(&error)
        })?;
        for old in self.images()?.into_iter().filter(|path| *path != written) {
            self.disk.remove(&old).map_err(|error| disk_error(&error))?;
        }
        Ok(bytes)
    }
    fn lean(&mut self) -> Result<Option<Image>, Error> {
        self.read(true)
    }
}
