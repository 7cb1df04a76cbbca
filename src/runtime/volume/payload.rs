//! Files that appear all at once: a directory with a time in its name, and a symbolic link to it that is swapped.
//!
//! The layout is the one that programs watching such volumes know: `..data` points to the newest directory, and each
//! top-level name points into `..data`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::Payload;

/// The link that is swapped.
const DATA: &str = "..data";
/// Its successor before the swap.
const DATA_NEXT: &str = "..data_tmp";

/// Makes `payload` the content of `dir`; does nothing where it already is.
///
/// # Errors
/// As the operating system says; readers then still see the content from before.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    if is_current(dir, payload)? {
        return Ok(());
    }
    let before = fs::read_link(dir.join(DATA)).ok();
    let version = next_version(before.as_deref());
    let fresh = dir.join(&version);
    remove_tree(&fresh)?;
    write_files(&fresh, payload, group)?;
    let next = dir.join(DATA_NEXT);
    remove_link(&next)?;
    symlink(&version, &next)?;
    fs::rename(&next, dir.join(DATA))?;
    link_names(dir, payload)?;
    if let Some(before) = before {
        remove_tree(&dir.join(before))?;
    }
    Ok(())
}

fn is_current(dir: &Path, payload: &Payload) -> io::Result<bool> {
    let data = dir.join(DATA);
    if fs::read_link(&data).is_err() {
        return Ok(false);
    }
    let mut present = BTreeSet::new();
    collect(&data, Path::new(""), &mut present)?;
    let same_names = present.iter().map(|path| path.to_string_lossy().into_owned()).eq(payload.keys().cloned());
    Ok(same_names
        && payload.iter().all(|(path, file)| {
            let path = data.join(path);
            let mode = fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o7777);
            mode.is_ok_and(|mode| mode == file.mode) && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
        }))
}

fn collect(dir: &Path, below: &Path, out: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let below = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &below, out)?;
        } else {
            out.insert(below);
        }
    }
    Ok(())
}

/// Two names in turn are enough: the older one is removed after each swap.
fn next_version(before: Option<&Path>) -> String {
    let first = "..version_a";
    if before == Some(Path::new(first)) { "..version_b".to_owned() } else { first.to_owned() }
}

fn write_files(root: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(root)?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    for (name, file) in payload {
        let relative = Path::new(name);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} leaves the volume")));
        }
        let path = root.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        if let Some(group) = group {
            std::os::unix::fs::chown(&path, None, Some(group))?;
        }
    }
    Ok(())
}

fn link_names(dir: &Path, payload: &Payload) -> io::Result<()> {
    let wanted: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with("..") || wanted.contains(name));
        if !ours && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

fn remove_tree(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

fn remove_link(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
