//! Files of the store, as a trait: the simulator's disk loses power, tears writes and fails fsync.

pub mod real;
pub mod sim;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

/// A file system as the store needs it. Calls block; the caller runs them on its writer thread.
pub trait Disk: Send + Sync + 'static {
    /// Makes `dir` and its parents.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files in `dir`, sorted.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Opens `path` for reading and writing, making it (mode 0600) where `create` says so.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file over another, atomically.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes names in `dir` (new, renamed, removed) durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes `path` (made where missing) for this process until the guard is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where another holder lives.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// How long what is written next waits before the disk begins with it; the simulator's driver sleeps it first, so that a
    /// power cut meanwhile loses all of it.
    fn queue_delay(&self) -> Duration {
        Duration::ZERO
    }
    /// How long the work since the last call would have taken; the simulator's driver sleeps it, a real disk says zero.
    fn take_delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// An open file.
pub trait DiskFile: Send {
    /// Length in bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `out.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// All bytes, which are read when they are looked at where the system can do that: they take no memory that it cannot
    /// take back. Nobody may write the file any more.
    ///
    /// # Errors
    /// As the operating system says.
    fn lend(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.len()?).map_err(io::Error::other)?];
        let read = self.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
    /// Writes all of `bytes` at `offset`. Durable only after [`DiskFile::sync`].
    ///
    /// # Errors
    /// As the operating system says; what was written is then undefined.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends (with zeros, allocated) to `len`.
    ///
    /// # Errors
    /// As the operating system says.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Makes written data durable (`fdatasync`).
    ///
    /// # Errors
    /// As the operating system says; after a failure nothing unsynced may be taken as durable, ever.
    fn sync(&mut self) -> io::Result<()>;
}
