//! Which pods are here, a file each, and directories for what does not last.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rand::RngCore as _;

use crate::runtime::{Error, SandboxSpec};
use crate::world::entropy::Entropy;

/// The pods.
pub(super) struct Pods {
    directory: PathBuf,
}

impl Pods {
    /// Opens the directory below `root`, and removes what a crash has left.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let directory = root.join("containerd/pods");
        let scratch = root.join("containerd/scratch");
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system("clean up", &error)),
            _ => {}
        }
        make(&directory).and_then(|()| make(&scratch)).map_err(|error| system("make directories", &error))?;
        Ok(Self { directory })
    }

    pub(super) fn put(&self, spec: &SandboxSpec) -> Result<(), Error> {
        let path = self.path(&spec.pod_uid)?;
        let write = || -> io::Result<()> {
            let temporary = path.with_extension("new");
            fs::write(&temporary, serde_json::to_vec(spec)?)?;
            fs::rename(temporary, &path)
        };
        write().map_err(|error| system("write a pod's file", &error))
    }

    pub(super) fn get(&self, uid: &str) -> Result<Option<SandboxSpec>, Error> {
        match fs::read(self.path(uid)?) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| system("read a pod's file", &e.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(system("read a pod's file", &error)),
        }
    }

    pub(super) fn remove(&self, uid: &str) -> Result<(), Error> {
        match fs::remove_file(self.path(uid)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system("remove a pod's file", &error)),
            _ => Ok(()),
        }
    }

    pub(super) fn all(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.directory).map_err(|error| system("list pods", &error))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut uids: Vec<_> = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
        uids.sort();
        Ok(uids)
    }

    fn path(&self, uid: &str) -> Result<PathBuf, Error> {
        if uid.is_empty() || uid.starts_with('.') || uid.contains('/') {
            return Err(Error::Config(format!("{uid:?} cannot be the uid of a pod")));
        }
        Ok(self.directory.join(format!("{uid}.json")))
    }
}

/// A directory that goes with this value.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    pub(super) fn new(root: &Path, entropy: &dyn Entropy) -> Result<Self, Error> {
        let path = root.join(format!("containerd/scratch/{:016x}", entropy.fork().next_u64()));
        make(&path).map_err(|error| system("make a directory", &error))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left goes at the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

pub(super) fn system(what: &str, error: &io::Error) -> Error {
    Error::System(format!("cannot {what}: {error}"))
}
