//! Container logs: the CRI line format, written with rotation and read with all the options of `kubectl logs`.
//!
//! `cri.rs` is the format, `writer.rs` writes it (in a pod's shim, or in the pump that containerd starts, `pump.rs`),
//! `reader.rs` reads it. A writer holds a lock on the newest file for as long as output may come; that is how a follower
//! in another process learns that nothing more will.

pub mod cri;
pub mod pump;
pub mod reader;
pub mod writer;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::model::Timestamp;
pub use reader::LogFiles;

/// What a reader of a log asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Keep the stream open and send what comes, until the container ends.
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

    /// The directories of pods below `root`; none where `root` is not there.
    fn pods(&self, root: &Path) -> io::Result<Vec<PathBuf>>;

    /// Removes a pod's directory of logs. One that is not there is fine.
    fn remove_pod(&self, directory: &Path) -> io::Result<()>;
}

/// The directory of a pod's logs below `root`, as other tools know it: `<namespace>_<pod>_<uid>`.
pub fn pod_directory(root: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    root.join(format!("{namespace}_{pod}_{uid}"))
}

/// Uid of the pod that a directory of [`pod_directory`] is of.
pub fn uid_of(directory: &Path) -> Option<&str> {
    directory.file_name()?.to_str()?.rsplit_once('_').map(|(_, uid)| uid)
}

/// The log of one incarnation of a container: `<pod directory>/<container>/<attempt>.log`.
pub fn container_path(pod_directory: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_directory.join(container).join(format!("{attempt}.log"))
}
