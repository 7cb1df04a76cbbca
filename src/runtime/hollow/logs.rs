//! Output of pretended containers, in memory.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::machine::{Machine, State};
use crate::model::Timestamp;
use crate::runtime::logs::{LogSource, ReadOptions};

/// Lines that are kept of one container.
const LINES_KEPT: usize = 256;
/// Logs that are kept of one machine; the first paths in order go when there are more.
const LOGS_KEPT: usize = 16_384;

/// The [`LogSource`] over a [`Machine`]. A follower gets what is there and then the end: nothing writes later.
pub struct MemoryLogs {
    machine: Arc<Machine>,
}

impl MemoryLogs {
    /// Reads the logs of `machine`.
    pub fn new(machine: Arc<Machine>) -> Arc<Self> {
        Arc::new(Self { machine })
    }
}

impl LogSource for MemoryLogs {
    fn read(&self, path: &Path, options: &ReadOptions) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let state = self.machine.state.lock();
        let lines = state.logs.get(path).ok_or(io::ErrorKind::NotFound)?;
        let mut chosen: Vec<_> =
            lines.iter().filter(|(at, _)| options.since.is_none_or(|since| *at >= since)).collect();
        if let Some(tail) = options.tail_lines {
            let skip = chosen.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
            chosen.drain(..skip);
        }
        let mut text = String::new();
        for (at, line) in chosen {
            if options.timestamps {
                text.push_str(&at.rfc3339_nano());
                text.push(' ');
            }
            text.push_str(line);
            text.push('\n');
        }
        let mut bytes = Bytes::from(text);
        bytes.truncate(options.limit_bytes.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
        Ok(stream::iter([Ok(bytes)]).boxed())
    }

    fn pods(&self, root: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.machine.state.lock();
        let pods = state.logs.keys().filter_map(|path| path.strip_prefix(root).ok()?.components().next());
        let pods: BTreeSet<PathBuf> = pods.map(|first| root.join(first)).collect();
        Ok(pods.into_iter().collect())
    }

    fn remove_pod(&self, directory: &Path) -> io::Result<()> {
        self.machine.state.lock().logs.retain(|path, _| !path.starts_with(directory));
        Ok(())
    }
}

pub(super) fn append(state: &mut State, path: &Path, at: Timestamp, lines: Vec<String>) {
    let log: &mut VecDeque<_> = state.logs.entry(path.to_owned()).or_default();
    for line in lines {
        if log.len() == LINES_KEPT {
            log.pop_front();
        }
        log.push_back((at, line));
    }
    if state.logs.len() > LOGS_KEPT {
        state.logs.pop_first();
    }
}
