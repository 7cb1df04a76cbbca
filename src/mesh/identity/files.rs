//! Private files: modes are checked before anything is read, writes are atomic and durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::Error;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes `dir` private, or checks that it is.
pub fn private_dir(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(failed("make", dir))?;
    }
    check(dir, DIR_MODE)
}

/// The text of a private file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => check(path, FILE_MODE).map(|()| Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Replaces a private file (mode 0600) as a whole; it is durable when this returns.
///
/// # Errors
/// Where the file system refuses; the old content then stays.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("new");
    write_draft(&draft, bytes).map_err(failed("write", path))?;
    fs::rename(&draft, path).map_err(failed("write", path))?;
    sync(path.parent().unwrap_or(Path::new(".")))
}

/// Renames a file within `dir`; durable when this returns.
pub fn rename(dir: &Path, from: &str, to: &str) -> Result<(), Error> {
    fs::rename(dir.join(from), dir.join(to)).map_err(failed("rename", &dir.join(from)))?;
    sync(dir)
}

/// Removes files of `dir` where they are there.
pub fn remove(dir: &Path, names: &[&str]) -> Result<(), Error> {
    for path in names.iter().map(|name| dir.join(name)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether no leaf was ever made here: the authority then has no clients yet.
pub fn is_first_start(dir: &Path) -> Result<bool, Error> {
    let entries = fs::read_dir(dir).map_err(failed("list", dir))?;
    let names: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    Ok(names.iter().all(|name| name == "ca.key" || name == "ca.new"))
}

fn sync(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn check(path: &Path, wanted: u32) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(failed("read", path))?;
    let mode = metadata.mode() & 0o7777;
    let user = nix::unistd::geteuid().as_raw();
    if mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.to_path_buf(), mode, wanted });
    }
    if metadata.uid() != user {
        return Err(Error::Foreign { path: path.to_path_buf(), owner: metadata.uid(), user });
    }
    Ok(())
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_path_buf(), source }
}
