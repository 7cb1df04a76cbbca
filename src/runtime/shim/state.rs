//! One container as its shim has it, and the file that tells of it when the shim is gone.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::model::Timestamp;
use crate::runtime::logs::cri::Stream;
use crate::runtime::logs::writer::LogWriter;
use crate::runtime::{Exit, Phase, cgroup};
use crate::world::clock::{Clock as _, SystemClock};

/// File in a container's directory that holds its [`Phase`].
pub(super) const STATE_FILE: &str = "state.json";
/// Bytes that are read from an output at once.
const READ_BYTES: usize = 16 << 10;
/// Reads of one output in a row, so that one container cannot keep the shim from the others.
const READS_IN_A_ROW: usize = 16;

/// A started container.
pub(super) struct Container {
    pub(super) name: String,
    pub(super) pid: i32,
    pub(super) phase: Phase,
    pub(super) outputs: Vec<(Stream, OwnedFd)>,
    /// Clients that wait for its end.
    pub(super) waiters: Vec<u64>,
    log: Option<LogWriter>,
    cgroup: PathBuf,
}

impl Container {
    pub(super) fn new(name: String, log: LogWriter, cgroup: PathBuf) -> Self {
        let phase = Phase::Created;
        Self { name, pid: 0, phase, outputs: Vec::new(), waiters: Vec::new(), log: Some(log), cgroup }
    }

    pub(super) fn started(&mut self, pid: i32) {
        self.pid = pid;
        self.phase = Phase::Running { started_at: SystemClock.now() };
        self.save();
    }

    /// Moves output into the log; false when that output has ended.
    pub(super) fn pump(&mut self, index: usize) -> bool {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_IN_A_ROW {
            let Some((stream, fd)) = self.outputs.get(index) else { return false };
            match nix::unistd::read(fd.as_fd(), &mut buffer) {
                // A terminal whose other side has closed reads EIO.
                Ok(0) | Err(Errno::EIO) => return false,
                Ok(count) => self.write(*stream, buffer.get(..count).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(_) => return true,
            }
        }
        true
    }

    pub(super) fn close_output(&mut self, index: usize) {
        if index < self.outputs.len() {
            self.outputs.remove(index);
        }
        if self.outputs.is_empty()
            && let Some(mut log) = self.log.take()
        {
            let _ = log.finish(SystemClock.now());
        }
    }

    /// The first process has ended: what it wrote is in the log before anyone hears of it.
    pub(super) fn ended(&mut self, code: i32, signal: Option<i32>) -> Exit {
        let mut index = 0;
        while index < self.outputs.len() {
            if self.pump(index) { index += 1 } else { self.close_output(index) }
        }
        let oom_killed = code != 0 && cgroup::oom_kills(&self.cgroup) > 0;
        let exit = Exit { code, signal, oom_killed, finished_at: SystemClock.now() };
        let started_at = self.started_at();
        self.phase = Phase::Exited { started_at, exit: exit.clone() };
        self.save();
        exit
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    fn started_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Running { started_at } => Some(started_at),
            _ => None,
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            // A full disk loses lines, but must not end or block the container.
            let _ = log.write(SystemClock.now(), stream, bytes);
        }
    }

    fn save(&self) {
        let path = Path::new(&self.name).join(STATE_FILE);
        // Where this cannot be written, the shim still knows; the file only matters when the shim is gone too.
        let _ = write_whole(&path, &self.phase);
    }
}

fn write_whole(path: &Path, phase: &Phase) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(phase)?)?;
    fs::rename(temporary, path)
}

/// Processes that have ended before anyone knew what they were, the oldest dropped first.
pub(super) struct Strays {
    seen: VecDeque<(i32, i32, Option<i32>)>,
}

/// Ends of processes that are remembered before anyone knows what they were.
const STRAYS: usize = 64;

impl Strays {
    pub(super) fn new() -> Self {
        Self { seen: VecDeque::new() }
    }

    /// Remembers that `pid` ended.
    pub(super) fn put(&mut self, pid: i32, code: i32, signal: Option<i32>) {
        if self.seen.len() == STRAYS {
            self.seen.pop_front();
        }
        self.seen.push_back((pid, code, signal));
    }

    /// Forgets them: nothing is being started, so they were nobody. (A number that is used again must not be taken for
    /// an old one.)
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Whether `pid` has ended already.
    pub(super) fn take(&mut self, pid: i32) -> Option<(i32, Option<i32>)> {
        let index = self.seen.iter().position(|(seen, ..)| *seen == pid)?;
        self.seen.remove(index).map(|(_, code, signal)| (code, signal))
    }
}
