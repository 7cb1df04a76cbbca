//! Container logs: the CRI line format, written with rotation and read with all the options of `kubectl logs`.

use std::io;
use std::path::Path;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::model::Timestamp;

/// What a reader of a log asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Keep the stream open and send what comes.
    pub follow: bool,
    /// Prefix every line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines at or after this time.
    pub since: Option<Timestamp>,
    /// Only this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Where logs are read from: files, or the memory of a pretended machine.
pub trait LogSource: Send + Sync + 'static {
    /// Opens the log at `path` (see [`ContainerSpec::log_path`](super::ContainerSpec)). [`io::ErrorKind::NotFound`]
    /// where nothing was ever logged there.
    fn read(&self, path: &Path, options: &ReadOptions) -> io::Result<BoxStream<'static, io::Result<Bytes>>>;

    /// Removes a pod's directory of logs. One that is not there is fine.
    fn remove_pod(&self, directory: &Path) -> io::Result<()>;
}
