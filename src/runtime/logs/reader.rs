//! Reads container logs from files, over rotation, and follows them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use nix::fcntl::{Flock, FlockArg};

use super::cri::{RECORD_BYTES, Record};
use super::writer::{FILES_KEPT, aged};
use super::{LogSource, ReadOptions};
use crate::model::Timestamp;

/// How often a follower looks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a writer's end is looked for.
const SETTLE_INTERVAL: Duration = Duration::from_millis(2);
/// Bytes that one step of the stream carries, about.
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes that are read at once while looking for the last lines.
const BLOCK_BYTES: u64 = 64 << 10;
/// Longest line of a file that is taken: a record with its head. What is longer was not written by us and is cut.
const LINE_BYTES: u64 = RECORD_BYTES as u64 + 256;
/// Rotated files that are looked for; more than a writer keeps by default, for logs written with other settings.
const FILES_SOUGHT: u32 = FILES_KEPT * 4;

/// Logs on disk.
#[derive(Debug, Default)]
pub struct LogFiles;

impl LogSource for LogFiles {
    fn read(&self, path: &Path, options: &ReadOptions) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let reader = Reader::open(path, options)?;
        Ok(stream::unfold(Some(reader), |state| async move { step(state?).await }).boxed())
    }

    fn pods(&self, root: &Path) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(root) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn remove_pod(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Waits until nothing writes to the log at `path` any more, at most for `patience`. For writers in other processes: their
/// last lines come a little after the container's end.
pub async fn settled(path: &Path, patience: Duration) {
    let deadline = tokio::time::Instant::now() + patience;
    while File::open(path).is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
        && tokio::time::Instant::now() < deadline
    {
        tokio::time::sleep(SETTLE_INTERVAL).await;
    }
}

type Step = Option<(io::Result<Bytes>, Option<Reader>)>;

async fn step(mut reader: Reader) -> Step {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let chunk = reader.next_chunk();
            (chunk, reader)
        });
        let (chunk, back) = match read.await {
            Ok(read) => read,
            Err(error) => return Some((Err(io::Error::other(error)), None)),
        };
        reader = back;
        match chunk {
            Ok(Chunk::Bytes(bytes)) => return Some((Ok(bytes), Some(reader))),
            Ok(Chunk::Nothing) => tokio::time::sleep(FOLLOW_INTERVAL).await,
            Ok(Chunk::End) => return None,
            Err(error) => return Some((Err(error), None)),
        }
    }
}

enum Chunk {
    Bytes(Bytes),
    Nothing,
    End,
}

struct Reader {
    path: PathBuf,
    /// Files that are still to be read, oldest first.
    files: VecDeque<BufReader<File>>,
    newest_inode: u64,
    options: ReadOptions,
    left: u64,
    /// The line that the end of the file cut short.
    torn: Vec<u8>,
    at_line_start: bool,
}

impl Reader {
    fn open(path: &Path, options: &ReadOptions) -> io::Result<Self> {
        let mut files = open_all(path)?;
        if let Some(tail) = options.tail_lines {
            seek_tail(&mut files, tail)?;
        }
        let newest_inode = files.back().map_or(Ok(0), |file| file.metadata().map(|m| m.ino()))?;
        Ok(Self {
            path: path.to_owned(),
            files: files.into_iter().map(BufReader::new).collect(),
            newest_inode,
            options: options.clone(),
            left: options.limit_bytes.unwrap_or(u64::MAX),
            torn: Vec::new(),
            at_line_start: true,
        })
    }

    fn next_chunk(&mut self) -> io::Result<Chunk> {
        let mut out = Vec::new();
        while out.len() < CHUNK_BYTES && self.left > 0 {
            if self.advance(&mut out)? {
                continue;
            }
            if !out.is_empty() {
                break;
            }
            if !self.is_over() {
                return Ok(Chunk::Nothing);
            }
            // What was written between the last read and the writer's end.
            if !self.advance(&mut out)? {
                return Ok(Chunk::End);
            }
        }
        Ok(if out.is_empty() { Chunk::End } else { Chunk::Bytes(out.into()) })
    }

    /// One line or one file further; false where there is nothing more for now.
    fn advance(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.read_line(out)? {
            return Ok(true);
        }
        if self.files.len() > 1 {
            self.files.pop_front();
            self.torn.clear();
            return Ok(true);
        }
        self.follow_rotation()
    }

    /// Reads one line of the front file; false at its end.
    fn read_line(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let Some(file) = self.files.front_mut() else { return Ok(false) };
        let room = LINE_BYTES.saturating_sub(self.torn.len() as u64);
        let count = file.by_ref().take(room).read_until(b'\n', &mut self.torn)?;
        if self.torn.last() == Some(&b'\n') {
            let line = std::mem::take(&mut self.torn);
            self.put(out, line.strip_suffix(b"\n").unwrap_or(&line));
        } else if self.torn.len() as u64 >= LINE_BYTES {
            self.torn.clear();
        }
        Ok(count > 0)
    }

    fn put(&mut self, out: &mut Vec<u8>, line: &[u8]) {
        let Some(record) = Record::parse(line) else { return };
        if let Some(since) = self.options.since {
            if Timestamp::parse(record.time).is_some_and(|at| at < since) {
                return;
            }
            self.options.since = None;
        }
        let before = out.len();
        if self.options.timestamps && self.at_line_start {
            out.extend_from_slice(record.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if record.full {
            out.push(b'\n');
        }
        self.at_line_start = record.full;
        let added = (out.len() - before) as u64;
        if added > self.left {
            out.truncate(before + usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(added);
    }

    /// Whether nothing will be written to the newest file any more.
    fn is_over(&self) -> bool {
        let Some(file) = self.files.back().filter(|_| self.options.follow) else { return true };
        let Ok(file) = file.get_ref().try_clone() else { return true };
        let same = fs::metadata(&self.path).is_ok_and(|newest| newest.ino() == self.newest_inode);
        // The writer's lock belongs to its open file; a clone of ours shares only our own lock, which ends right here.
        Flock::lock(file, FlockArg::LockSharedNonblock).is_ok() && (same || !self.path.exists())
    }

    /// Takes up the files that rotation has made since; false where there is none.
    fn follow_rotation(&mut self) -> io::Result<bool> {
        if !self.options.follow {
            return Ok(false);
        }
        let mut newer = match open_all(&self.path) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        while let Some(file) = newer.front() {
            let inode = file.metadata()?.ino();
            newer.pop_front();
            if inode == self.newest_inode {
                break;
            }
        }
        if newer.is_empty() {
            return Ok(false);
        }
        for file in newer {
            self.newest_inode = file.metadata()?.ino();
            self.files.push_back(BufReader::new(file));
        }
        Ok(true)
    }
}

/// Opens every file of a log, oldest first.
fn open_all(path: &Path) -> io::Result<VecDeque<File>> {
    let mut files = VecDeque::from([File::open(path)?]);
    let mut seen = files.iter().map(|file| file.metadata().map(|m| m.ino())).collect::<io::Result<Vec<_>>>()?;
    for age in 1..FILES_SOUGHT {
        match File::open(aged(path, age)) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                // Rotation may happen while we look: the file just opened is then found again under its next name.
                if !seen.contains(&inode) {
                    seen.push(inode);
                    files.push_front(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Drops what comes before the last `lines` lines.
fn seek_tail(files: &mut VecDeque<File>, mut lines: u64) -> io::Result<()> {
    for index in (0..files.len()).rev() {
        let Some(file) = files.get_mut(index) else { continue };
        match tail_start(file, &mut lines)? {
            Some(start) => {
                file.seek(SeekFrom::Start(start))?;
                files.drain(..index);
                return Ok(());
            }
            None => file.rewind()?,
        }
    }
    Ok(())
}

/// Where the last `lines` lines of `file` begin; `None`, and fewer `lines` left to find, where it has not so many.
fn tail_start(file: &mut File, lines: &mut u64) -> io::Result<Option<u64>> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let whole = end;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        for (offset, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let after = start + offset as u64 + 1;
            if *lines == 0 {
                return Ok(Some(after));
            }
            // The newline at the very end of the file ends the last line; each one before it ends an earlier line.
            *lines -= 1;
        }
        end = start;
    }
    Ok((*lines == 0 && whole == 0).then_some(0))
}

#[cfg(test)]
mod tests;
