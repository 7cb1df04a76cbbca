//! Makes the file that one entry of a layer describes, with its owner, mode, attributes and time.

use std::ffi::{CString, OsStr};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;

/// What overlayfs takes as "nothing of the layers below".
const OPAQUE: &str = "trusted.overlay.opaque";
/// How archives carry extended attributes.
const XATTR: &str = "SCHILY.xattr.";

/// Makes a file, link or device; false for kinds that are not files.
pub(super) fn make<R: Read>(entry: &mut tar::Entry<'_, R>, path: &Path) -> io::Result<bool> {
    let header = entry.header();
    let device = || -> io::Result<nix::libc::dev_t> {
        let number = |part: io::Result<Option<u32>>| Ok::<_, io::Error>(u64::from(part?.unwrap_or(0)));
        Ok(makedev(number(header.device_major())?, number(header.device_minor())?))
    };
    match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            io::copy(entry, &mut file)?;
        }
        tar::EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), path)?;
        }
        tar::EntryType::Char => mknod(path, SFlag::S_IFCHR, Mode::empty(), device()?)?,
        tar::EntryType::Block => mknod(path, SFlag::S_IFBLK, Mode::empty(), device()?)?,
        tar::EntryType::Fifo => mknod(path, SFlag::S_IFIFO, Mode::empty(), 0)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Sets owner, attributes, mode (in this order: a change of owner clears set-user-id bits) and time.
pub(super) fn set_owner_and_mode<R: Read>(entry: &mut tar::Entry<'_, R>, path: &Path) -> io::Result<()> {
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner beyond 32 bits"));
    let (uid, gid, mode) = (id(header.uid()?)?, id(header.gid()?)?, header.mode()?);
    let (kind, time) = (header.entry_type(), header.mtime().unwrap_or(0));
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(XATTR)) {
                // Marks of overlayfs itself are not an image's to give.
                if !name.starts_with("trusted.overlay.") {
                    set_xattr(path, name, extension.value_bytes())?;
                }
            }
        }
    }
    if !kind.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777))?;
    }
    if kind.is_dir() { Ok(()) } else { set_time(path, time) }
}

/// Marks a directory as hiding what the layers below have in it.
pub(super) fn set_opaque(directory: &Path) -> io::Result<()> {
    set_xattr(directory, OPAQUE, b"y")
}

/// Marks a name as removed.
pub(super) fn whiteout(path: &Path) -> io::Result<()> {
    match mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
        // The same layer has put something there: it is newer than what is hidden below.
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sets the modification time, in seconds since 1970.
pub(super) fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let time = TimeSpec::new(i64::try_from(seconds).unwrap_or(0), 0);
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let name = CString::new(name)?;
    // SAFETY: both strings end with a zero byte and the value's length is its own; the call keeps nothing.
    let code = unsafe { nix::libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    match code {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // A file system without them (or a security module that is not here) loses attributes, not images.
            error if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => Ok(()),
            error => Err(error),
        },
    }
}
