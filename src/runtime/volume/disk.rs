//! Volumes on this machine: directories, tmpfs mounts and files under one root.
//!
//! `<root>/<pod uid>/volumes/<name>` are volumes, `<root>/<pod uid>/files/<name>` are files of the pod's own. Work that
//! blocks runs on tokio's blocking threads.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{PayloadFile, VolumeKind, VolumeSpec, Volumes, payload};
use crate::runtime::Error;

/// The [`Volumes`] below a directory of this machine.
#[derive(Debug, Clone)]
pub struct DiskVolumes {
    root: PathBuf,
}

impl DiskVolumes {
    /// Volumes below `root`, which is made (mode 0711: containers of other users reach what is theirs) when needed.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn pod(&self, uid: &str) -> PathBuf {
        self.root.join(uid)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let result = tokio::task::spawn_blocking(work).await;
        let result = result.unwrap_or_else(|error| Err(io::Error::other(error)));
        result.map_err(|error| Error::System(format!("{what}: {error}")))
    }
}

#[async_trait]
impl Volumes for DiskVolumes {
    async fn prepare(&self, pod_uid: &str, volume: &VolumeSpec) -> Result<PathBuf, Error> {
        let path = self.pod(pod_uid).join("volumes").join(&volume.name);
        let (pod, volume) = (self.pod(pod_uid), volume.clone());
        let what = format!("MountVolume.SetUp failed for volume {:?} ", volume.name);
        self.blocking(what, move || {
            open_root(&pod)?;
            make(&path, &volume)
        })
        .await
    }

    async fn write(&self, pod_uid: &str, name: &str, file: &PayloadFile) -> Result<PathBuf, Error> {
        let (pod, file) = (self.pod(pod_uid), file.clone());
        let path = pod.join("files").join(name);
        let what = format!("cannot write {name}");
        self.blocking(what, move || {
            open_root(&pod)?;
            write_in_place(&path, &file)?;
            Ok(path)
        })
        .await
    }

    async fn read(&self, pod_uid: &str, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let path = self.pod(pod_uid).join("files").join(name);
        self.blocking(format!("cannot read {name}"), move || tail(&path, limit)).await
    }

    async fn sub_path(&self, volume: &Path, sub_path: &str) -> Result<PathBuf, Error> {
        let (volume, wanted) = (volume.to_owned(), PathBuf::from(sub_path));
        self.blocking(format!("failed to prepare subPath {sub_path:?}"), move || inside(&volume, &wanted)).await
    }

    async fn clean(&self, pod_uid: &str) -> Result<(), Error> {
        let pod = self.pod(pod_uid);
        self.blocking("cannot remove the pod's volumes".to_owned(), move || remove(&pod)).await
    }

    async fn present(&self) -> Result<Vec<String>, Error> {
        let root = self.root.clone();
        self.blocking("cannot list volumes".to_owned(), move || names(&root)).await
    }
}

/// Directories above a pod's volumes: containers of other users must pass through.
fn open_root(pod: &Path) -> io::Result<()> {
    for dir in [pod.to_owned(), pod.join("volumes"), pod.join("files")] {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

fn make(path: &Path, volume: &VolumeSpec) -> io::Result<PathBuf> {
    match &volume.kind {
        VolumeKind::Empty => empty(path, volume.group)?,
        VolumeKind::Memory { limit_bytes } => memory(path, *limit_bytes, volume.group)?,
        VolumeKind::Host { path, check } => {
            check_host(path, check)?;
            return Ok(path.clone());
        }
        VolumeKind::Files(files) => payload::write(path, files, volume.group)?,
    }
    Ok(path.to_owned())
}

fn empty(path: &Path, group: Option<u32>) -> io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        open_to_all(path, group)?;
    }
    Ok(())
}

fn open_to_all(path: &Path, group: Option<u32>) -> io::Result<()> {
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn memory(path: &Path, limit_bytes: Option<u64>, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if mount_points()?.iter().any(|point| point == path) {
        return Ok(());
    }
    let size = limit_bytes.map(|bytes| format!("size={bytes}"));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, size.as_deref()).map_err(io::Error::from)?;
    open_to_all(path, group)
}

fn check_host(path: &Path, check: &str) -> io::Result<()> {
    let kind = fs::metadata(path).ok().map(|meta| meta.file_type());
    let wrong =
        |what: &str| Err(io::Error::other(format!("hostPath type check failed: {} is not a {what}", path.display())));
    match check {
        "" => Ok(()),
        "DirectoryOrCreate" if kind.is_none() => {
            fs::create_dir_all(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        }
        "FileOrCreate" if kind.is_none() => {
            fs::File::create(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        }
        "Directory" | "DirectoryOrCreate" if kind.is_none_or(|kind| !kind.is_dir()) => wrong("directory"),
        "File" | "FileOrCreate" if kind.is_none_or(|kind| !kind.is_file()) => wrong("file"),
        "Socket" if kind.is_none_or(|kind| !kind.is_socket()) => wrong("socket"),
        "CharDevice" if kind.is_none_or(|kind| !kind.is_char_device()) => wrong("character device"),
        "BlockDevice" if kind.is_none_or(|kind| !kind.is_block_device()) => wrong("block device"),
        _ => Ok(()),
    }
}

/// Keeps the file's inode: it may be bind-mounted into containers.
fn write_in_place(path: &Path, file: &PayloadFile) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if fs::read(path).is_ok_and(|bytes| bytes == file.bytes) {
        return Ok(());
    }
    fs::write(path, &file.bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))
}

fn tail(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let limit = limit as u64;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut out = Vec::new();
    file.take(limit).read_to_end(&mut out)?;
    Ok(out)
}

/// Resolves `wanted` below `volume`, step by step, so that no link leads outside.
fn inside(volume: &Path, wanted: &Path) -> io::Result<PathBuf> {
    let root = fs::canonicalize(volume)?;
    let mut at = root.clone();
    for part in wanted.components() {
        let Component::Normal(part) = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path must stay inside the volume"));
        };
        let next = at.join(part);
        if fs::symlink_metadata(&next).is_err() {
            fs::create_dir(&next)?;
            fs::set_permissions(&next, fs::Permissions::from_mode(0o755))?;
        }
        at = fs::canonicalize(&next)?;
        if !at.starts_with(&root) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link leads outside the volume"));
        }
    }
    Ok(at)
}

fn remove(pod: &Path) -> io::Result<()> {
    let mut below: Vec<PathBuf> = mount_points()?.into_iter().filter(|point| point.starts_with(pod)).collect();
    below.sort();
    for point in below.iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).map_err(io::Error::from)?;
    }
    match fs::remove_dir_all(pod) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn names(root: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Mount points of this process's mount namespace.
fn mount_points() -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path))).collect())
}

/// Undoes the kernel's `\040` for spaces, tabs, newlines and backslashes.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
