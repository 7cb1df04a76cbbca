//! One process per data directory: a locked file that names the process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Name of the file in the data directory.
const FILE: &str = "node.lock";

/// The lock; it is released when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct NodeLock {
    file: Flock<File>,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("the data directory {} is in use by process {pid}; stop it with `shoal down --data {}`, or start this node with another --data", dir.display(), dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process, or 0 where it did not write its number yet.
        pid: i32,
    },
    /// The file system refused.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl NodeLock {
    /// Takes the lock of `dir`.
    ///
    /// # Errors
    /// Where another process has it, or the file system refuses.
    pub fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let failed = |source| Error::Io { path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { file }),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(Error::InUse { dir: dir.to_path_buf(), pid: read_pid(file) })
            }
            Err((_, error)) => Err(failed(error.into())),
        }
    }

    /// Writes this process's number for others to read.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn sign(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}", std::process::id())
    }
}

fn read_pid(mut file: File) -> i32 {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = NodeLock::acquire(dir.path()).unwrap();
        first.sign().unwrap();
        let Error::InUse { pid, .. } = NodeLock::acquire(dir.path()).unwrap_err() else { panic!("not in use?") };
        assert_eq!(pid, std::process::id().cast_signed());
        drop(first);
        NodeLock::acquire(dir.path()).unwrap();
    }
}
