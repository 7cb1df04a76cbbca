//! Directories of pods and containers, and the names in them.
//!
//! ```text
//! <run>/pods/<uid>/sandbox.json            what the pod's containers share
//! <run>/pods/<uid>/shim.sock               its shim listens here
//! <run>/pods/<uid>/<name>.<attempt>/       a container: spec.json (ours), config.json (OCI), start.json, state.json
//! <root>/scratch/<uid>/<name>.<attempt>/   what it writes: upper, work
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::runtime::shim::wire::Start;
use crate::runtime::{ContainerId, ContainerSpec, Error, Exit, Phase, SandboxSpec};

/// Exit code of a container that was never started although its shim is gone.
const NEVER_STARTED: i32 = 128;

/// The two trees.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pods: PathBuf,
    scratch: PathBuf,
}

impl Layout {
    /// Opens them, and removes what containers wrote whose pods are gone.
    pub(super) fn open(root: &Path, run: &Path) -> Result<Self, Error> {
        let layout = Self { pods: run.join("pods"), scratch: root.join("scratch") };
        make(&layout.pods).and_then(|()| make(&layout.scratch)).map_err(|error| system("make directories", &error))?;
        for uid in names(&layout.scratch)? {
            if !layout.pods.join(&uid).exists() {
                clear(&layout.scratch.join(&uid)).map_err(|error| system("clean up", &error))?;
            }
        }
        Ok(layout)
    }

    /// Uids of all pods.
    pub(super) fn pods(&self) -> Result<Vec<String>, Error> {
        names(&self.pods)
    }

    /// A container that was made of an image.
    pub(super) fn user_of(&self, image_id: &str) -> Result<Option<ContainerId>, Error> {
        for uid in self.pods()? {
            let containers = self.pod(&uid)?.containers()?;
            if let Some(found) = containers.into_iter().find(|prepared| prepared.spec.image_id == image_id) {
                return Ok(Some(found.spec.id));
            }
        }
        Ok(None)
    }

    /// A pod's directories, whether they are there or not.
    pub(super) fn pod(&self, uid: &str) -> Result<Pod, Error> {
        if uid.is_empty() || uid.starts_with('.') || uid.contains('/') {
            return Err(Error::Config(format!("{uid:?} cannot be the uid of a pod")));
        }
        Ok(Pod { directory: self.pods.join(uid), scratch: self.scratch.join(uid) })
    }
}

/// One pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) directory: PathBuf,
    scratch: PathBuf,
}

impl Pod {
    pub(super) fn create(&self, spec: &SandboxSpec) -> Result<(), Error> {
        make(&self.directory)
            .and_then(|()| write(&self.directory.join("sandbox.json"), spec))
            .map_err(|error| system("make a pod's directory", &error))
    }

    pub(super) fn sandbox(&self) -> Result<Option<SandboxSpec>, Error> {
        read(&self.directory.join("sandbox.json"))
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        // The directory last: as long as it is there, the pod is listed and its removal is tried again.
        clear(&self.scratch).and_then(|()| clear(&self.directory)).map_err(|e| system("remove a pod's directory", &e))
    }

    pub(super) fn container(&self, id: &ContainerId) -> Result<Option<Prepared>, Error> {
        self.load(&name_of(id))
    }

    pub(super) fn containers(&self) -> Result<Vec<Prepared>, Error> {
        let found = names(&self.directory)?.into_iter().filter_map(|name| self.load(&name).transpose());
        found.collect()
    }

    /// A container's directory and where it writes.
    pub(super) fn paths(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.directory.join(name), self.scratch.join(name))
    }

    fn load(&self, name: &str) -> Result<Option<Prepared>, Error> {
        let (directory, scratch) = self.paths(name);
        let spec = read(&directory.join("spec.json"))?;
        Ok(spec.map(|spec| Prepared { name: name.to_owned(), spec, directory, scratch }))
    }
}

/// A container that was made.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) spec: ContainerSpec,
    directory: PathBuf,
    scratch: PathBuf,
}

impl Prepared {
    pub(super) fn start_request(&self) -> Result<Start, Error> {
        let start = read(&self.directory.join("start.json"))?;
        start.ok_or_else(|| Error::System(format!("{} has lost its start.json", self.directory.display())))
    }

    /// What the shim wrote down last.
    pub(super) fn last_phase(&self) -> Phase {
        match read(&self.directory.join("state.json")) {
            Ok(Some(phase)) => phase,
            _ => Phase::Created,
        }
    }

    /// For a container that its shim does not know: it was not started yet, or its start failed.
    pub(super) fn failed_phase(&self) -> Phase {
        match self.last_phase() {
            Phase::Running { started_at } => {
                let exit = Exit { code: NEVER_STARTED, signal: None, oom_killed: false, finished_at: started_at };
                Phase::Exited { started_at: Some(started_at), exit }
            }
            phase => phase,
        }
    }

    pub(super) fn save_phase(&self, phase: &Phase) {
        // Only a memory of what would otherwise be found out again.
        let _ = write(&self.directory.join("state.json"), phase);
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        clear(&self.scratch).and_then(|()| clear(&self.directory)).map_err(|e| system("remove a container", &e))
    }
}

/// The name of a container's directories and cgroup: unique in its pod.
pub(super) fn name_of(id: &ContainerId) -> String {
    format!("{}.{}", id.container, id.attempt)
}

/// Makes a directory that only root may look into, with its parents.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Writes a value as JSON, whole or not at all.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(value)?)?;
    fs::rename(temporary, path)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::System(format!("{} is damaged: {error}", path.display()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::System(format!("cannot read {}: {error}", path.display()))),
    }
}

fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(system("list directories", &error)),
    };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<_> = directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn system(what: &str, error: &io::Error) -> Error {
    Error::System(format!("cannot {what}: {error}"))
}
