//! Writes one container's log, with rotation: `0.log` is the newest, `0.log.1` the one before it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::cri::{Splitter, Stream};
use crate::model::Timestamp;

/// A log file is set aside when it has grown to this (as the kubelet's `containerLogMaxSize`).
pub const FILE_BYTES: u64 = 10 << 20;
/// Files that are kept of one log, the newest included (as the kubelet's `containerLogMaxFiles`).
pub const FILES_KEPT: u32 = 5;

/// When to rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files, the newest included; at least 1.
    pub files: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { file_bytes: FILE_BYTES, files: FILES_KEPT }
    }
}

/// An open log. The newest file stays locked until this is dropped.
pub struct LogWriter {
    path: PathBuf,
    file: Flock<File>,
    length: u64,
    rotation: Rotation,
    stdout: Splitter,
    stderr: Splitter,
    out: Vec<u8>,
}

impl LogWriter {
    /// Opens (or goes on with) the log at `path`; makes its directory, mode 0700.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let file = open_locked(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            rotation,
            stdout: Splitter::new(Stream::Stdout),
            stderr: Splitter::new(Stream::Stderr),
            out: Vec::new(),
        })
    }

    /// Takes output. What cannot be written (a full disk) is lost, and said in the error; the log goes on after it.
    pub fn write(&mut self, at: Timestamp, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let splitter = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        splitter.push(&mut self.out, at, bytes);
        self.flush()
    }

    /// Writes what has no newline yet: the output ended.
    pub fn finish(&mut self, at: Timestamp) -> io::Result<()> {
        self.stdout.finish(&mut self.out, at);
        self.stderr.finish(&mut self.out, at);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        if self.length > 0 && self.length + self.out.len() as u64 > self.rotation.file_bytes {
            self.rotate()?;
        }
        let out = std::mem::take(&mut self.out);
        self.length += out.len() as u64;
        (&*self.file).write_all(&out)
    }

    fn rotate(&mut self) -> io::Result<()> {
        for age in (1..self.rotation.files).rev() {
            let from = if age == 1 { self.path.clone() } else { aged(&self.path, age - 1) };
            match fs::rename(from, aged(&self.path, age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.files <= 1 {
            fs::remove_file(&self.path)?;
        }
        // The new file is locked before the old lock goes, so that a follower never sees both free.
        self.file = open_locked(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

/// The path of a file that was set aside `age` rotations ago.
pub fn aged(path: &Path, age: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

fn open_locked(path: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}
