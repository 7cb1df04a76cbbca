//! Volumes that only pretend: files in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{PayloadFile, VolumeKind, VolumeSpec, Volumes};
use crate::runtime::Error;

/// The [`Volumes`] of a pretended machine; shared by `Arc`, so that a node that restarts finds what it left.
#[derive(Default)]
pub struct HollowVolumes {
    pods: Mutex<BTreeMap<String, Pod>>,
}

#[derive(Default, Clone)]
struct Pod {
    volumes: BTreeMap<String, VolumeKind>,
    files: BTreeMap<String, PayloadFile>,
}

impl HollowVolumes {
    /// A machine with no volumes.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// What a volume is now.
    pub fn volume(&self, pod_uid: &str, name: &str) -> Option<VolumeKind> {
        self.pods.lock().get(pod_uid)?.volumes.get(name).cloned()
    }
}

#[async_trait]
impl Volumes for HollowVolumes {
    async fn prepare(&self, pod_uid: &str, volume: &VolumeSpec) -> Result<PathBuf, Error> {
        let mut pods = self.pods.lock();
        pods.entry(pod_uid.to_owned()).or_default().volumes.insert(volume.name.clone(), volume.kind.clone());
        Ok(Path::new("/hollow").join(pod_uid).join("volumes").join(&volume.name))
    }

    async fn write(&self, pod_uid: &str, name: &str, file: &PayloadFile) -> Result<PathBuf, Error> {
        self.pods.lock().entry(pod_uid.to_owned()).or_default().files.insert(name.to_owned(), file.clone());
        Ok(Path::new("/hollow").join(pod_uid).join("files").join(name))
    }

    async fn read(&self, pod_uid: &str, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let pods = self.pods.lock();
        let bytes = pods.get(pod_uid).and_then(|pod| pod.files.get(name)).map(|file| file.bytes.as_slice());
        let bytes = bytes.unwrap_or_default();
        Ok(bytes.iter().skip(bytes.len().saturating_sub(limit)).copied().collect())
    }

    async fn sub_path(&self, volume: &Path, sub_path: &str) -> Result<PathBuf, Error> {
        Ok(volume.join(sub_path))
    }

    async fn clean(&self, pod_uid: &str) -> Result<(), Error> {
        self.pods.lock().remove(pod_uid);
        Ok(())
    }

    async fn present(&self) -> Result<Vec<String>, Error> {
        Ok(self.pods.lock().keys().cloned().collect())
    }
}
