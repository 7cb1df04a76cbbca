//! Volumes and files of pods on one node: a trait, its real implementation on disk and its fake.
//!
//! `disk` makes directories, tmpfs mounts and files under one root; `payload` writes files so that readers see all of
//! a change or nothing of it; `hollow` keeps only names, for scale and for the simulator.

pub mod disk;
pub mod hollow;
pub mod payload;

use std::path::PathBuf;

use async_trait::async_trait;

use super::Error;

pub use crate::plan::pod::files::{File as PayloadFile, Files as Payload};
pub use disk::DiskVolumes;
pub use hollow::HollowVolumes;

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Name in the pod.
    pub name: String,
    /// What it is.
    pub kind: VolumeKind,
    /// Group that owns its files (`fsGroup`).
    pub group: Option<u32>,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeKind {
    /// An empty directory on the node's disk.
    Empty,
    /// An empty directory in memory.
    Memory {
        /// Most bytes; the kernel's default (half the memory) where `None`.
        limit_bytes: Option<u64>,
    },
    /// A path of the node.
    Host {
        /// Absolute path.
        path: PathBuf,
        /// `hostPath.type`; empty: no check.
        check: String,
    },
    /// Files with given content.
    Files(Payload),
}

/// Makes and removes volumes and files of pods. Calls are idempotent.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes a volume (or finds it again, or brings its files up to date) and answers where it is on the node.
    async fn prepare(&self, pod_uid: &str, volume: &VolumeSpec) -> Result<PathBuf, Error>;

    /// Writes a file of the pod's own (`etc-hosts`, ...), in place, and answers where it is.
    async fn write(&self, pod_uid: &str, name: &str, file: &PayloadFile) -> Result<PathBuf, Error>;

    /// The last `limit` bytes of a file of the pod's own; empty where there is none.
    async fn read(&self, pod_uid: &str, name: &str, limit: usize) -> Result<Vec<u8>, Error>;

    /// Where `sub_path` of a prepared volume is; made as a directory where it does not exist. Never outside the volume.
    async fn sub_path(&self, volume: &std::path::Path, sub_path: &str) -> Result<PathBuf, Error>;

    /// Unmounts and removes everything of the pod.
    async fn clean(&self, pod_uid: &str) -> Result<(), Error>;

    /// Pod uids that have something here.
    async fn present(&self) -> Result<Vec<String>, Error>;
}
