//! Kernel namespaces that live without a process: pinned to files by a bind mount.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{FsType, statfs};
use tokio::sync::oneshot;

use super::Error;

/// File system type of namespace files (`NSFS_MAGIC` in the kernel's `magic.h`).
const NSFS: FsType = FsType(0x6e73_6673);

/// A kind of namespace, by its name under `/proc/self/ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Network.
    Net,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Hostname.
    Uts,
}

impl Kind {
    /// Every kind that is pinned.
    pub const ALL: [Self; 3] = [Self::Net, Self::Ipc, Self::Uts];

    /// Its name in `/proc/self/ns`, and of its pin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
        }
    }

    fn flag(self) -> CloneFlags {
        match self {
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
        }
    }
}

/// Where a namespace of `dir` is pinned.
pub fn pin_path(dir: &Path, kind: Kind) -> PathBuf {
    dir.join(kind.name())
}

/// Whether the file is a pinned namespace; after a reboot it is a plain file.
pub fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS)
}

/// Runs `job` on a thread of its own, which ends with it: whatever namespaces it enters, no other work runs in them.
///
/// # Errors
/// The job's own, or that no thread could be made.
pub async fn in_thread<T: Send + 'static>(job: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let (answer, wait) = oneshot::channel();
    std::thread::Builder::new()
        .name("netns".into())
        .spawn(move || drop(answer.send(job())))
        .map_err(|error| Error::System(format!("cannot start a thread: {error}")))?;
    wait.await.unwrap_or_else(|_| Err(Error::System("the thread that sets up a namespace failed".into())))
}

/// Moves the calling thread into new namespaces and pins them in `dir`. Call inside [`in_thread`] only.
///
/// # Errors
/// Where the kernel refuses.
pub fn unshare_and_pin(dir: &Path, kinds: &[Kind], hostname: &str) -> Result<(), Error> {
    let flags = kinds.iter().fold(CloneFlags::empty(), |flags, kind| flags | kind.flag());
    unshare(flags).map_err(|error| {
        Error::System(format!("cannot make namespaces: {error} (needs root and CONFIG_NAMESPACES in the kernel)"))
    })?;
    if kinds.contains(&Kind::Uts) {
        nix::unistd::sethostname(hostname)
            .map_err(|error| Error::System(format!("cannot set hostname {hostname:?}: {error}")))?;
    }
    kinds.iter().try_for_each(|kind| pin(dir, *kind))
}

/// Takes all pins in `dir` away, and the directory. The namespaces end with their last process.
///
/// # Errors
/// Where the file system refuses.
pub fn unpin(dir: &Path) -> Result<(), Error> {
    for kind in Kind::ALL {
        let path = pin_path(dir, kind);
        // Once for each time it was mounted: a start that was cut off may have pinned twice.
        while is_pinned(&path) {
            umount2(&path, MntFlags::MNT_DETACH).map_err(|error| failed("unmount", &path, error.into()))?;
        }
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir, error)),
        _ => Ok(()),
    }
}

/// Makes a directory, and those above it, for this user only.
///
/// # Errors
/// Where the file system refuses.
pub fn private_dir(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed("make", dir, error))
}

fn pin(dir: &Path, kind: Kind) -> Result<(), Error> {
    let path = pin_path(dir, kind);
    File::create(&path).map_err(|error| failed("make", &path, error))?;
    let source = Path::new("/proc/thread-self/ns").join(kind.name());
    mount(Some(&source), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| failed("pin a namespace at", &path, error.into()))
}

fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    Error::System(format!("cannot {action} {}: {error}", path.display()))
}
