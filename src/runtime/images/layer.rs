//! Unpacks one layer into a directory that overlayfs takes as it is: whiteouts become its own marks.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use super::digest_text;
use super::entry;

/// Bytes of one layer, uncompressed, at most.
pub const LAYER_BYTES: u64 = 32 << 30;
/// Entries of one layer, at most.
pub const ENTRIES: u64 = 4 << 20;
/// Bytes of one path, at most (the kernel's own limit).
const PATH_BYTES: usize = 4096;

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the uncompressed archive.
    pub diff_id: String,
    /// Bytes of its files.
    pub size_bytes: u64,
}

/// Unpacks the layer that `source` delivers (tar; plain, gzip or zstd) into the empty directory `target`.
///
/// # Errors
/// Where the archive is damaged, too large, or names a path outside of itself.
pub fn unpack(source: impl Read, target: &Path) -> io::Result<Unpacked> {
    let hashing = Hashing::new(decompress(source)?.take(LAYER_BYTES));
    let mut archive = tar::Archive::new(hashing);
    let mut layer = Layer { target, known: BTreeSet::new(), times: Vec::new(), size_bytes: 0 };
    let mut count = 0;
    for entry in archive.entries()? {
        count += 1;
        if count > ENTRIES {
            return Err(io::Error::other(format!("a layer of more than {ENTRIES} files")));
        }
        layer.put(&mut entry?)?;
    }
    layer.finish()?;
    let mut hashing = archive.into_inner();
    io::copy(&mut hashing, &mut io::sink())?;
    if hashing.inner.limit() == 0 {
        return Err(io::Error::other(format!("a layer of more than {LAYER_BYTES} bytes")));
    }
    Ok(Unpacked { diff_id: digest_text(hashing.context.finish().as_ref()), size_bytes: layer.size_bytes })
}

/// A reader of the plain bytes of `source`, whatever it is compressed with.
pub fn decompress<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(1 << 17, source);
    let magic = source.fill_buf()?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(source)?),
        _ => Box::new(source),
    })
}

/// The parts of a path in an archive; `None` for the root itself.
///
/// # Errors
/// Where it leads outside.
pub fn inside(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(escapes(path)),
        }
    }
    if path.as_os_str().len() > PATH_BYTES {
        return Err(io::Error::other("a path in the archive is too long"));
    }
    Ok((!clean.as_os_str().is_empty()).then_some(clean))
}

fn escapes(path: &Path) -> io::Error {
    io::Error::other(format!("the path {} in the archive leads outside of it", path.display()))
}

struct Layer<'a> {
    target: &'a Path,
    /// Directories that are known to be there, and to be directories.
    known: BTreeSet<PathBuf>,
    /// Modification times of directories, set last: what is put into them changes them.
    times: Vec<(PathBuf, u64)>,
    size_bytes: u64,
}

impl Layer<'_> {
    fn put<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        let Some(path) = inside(&entry.path()?)? else { return self.root(entry) };
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        self.make_parents(&parent)?;
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => entry::set_opaque(&self.target.join(parent)),
            Some(rest) if rest.starts_with(b".wh.") => Ok(()),
            Some(hidden) => entry::whiteout(&self.target.join(parent).join(name_of(hidden))),
            None => self.put_plain(entry, &path),
        }
    }

    fn root<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        if entry.header().entry_type().is_dir() { entry::set_owner_and_mode(entry, self.target) } else { Ok(()) }
    }

    fn put_plain<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, path: &Path) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let full = self.target.join(path);
        self.clear(path, &full, kind.is_dir())?;
        match kind {
            tar::EntryType::Directory => {
                if !self.known.contains(path) {
                    match fs::create_dir(&full) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                        _ => {}
                    }
                    self.known.insert(path.to_owned());
                }
                self.times.push((full.clone(), entry.header().mtime().unwrap_or(0)));
            }
            tar::EntryType::Link => {
                let link = entry.link_name()?.ok_or_else(|| io::Error::other("a hard link to nothing"))?;
                let source = inside(&link)?.ok_or_else(|| escapes(path))?;
                self.make_parents(source.parent().unwrap_or(Path::new("")))?;
                return fs::hard_link(self.target.join(source), full);
            }
            _ if !entry::make(entry, &full)? => return Ok(()),
            _ => self.size_bytes += entry.size(),
        }
        entry::set_owner_and_mode(entry, &full)
    }

    /// Takes away what an earlier entry of the same archive put there; a directory over a directory stays.
    fn clear(&mut self, path: &Path, full: &Path, directory: bool) -> io::Result<()> {
        match fs::symlink_metadata(full) {
            Ok(found) if found.is_dir() && directory => Ok(()),
            Ok(found) if found.is_dir() => {
                self.known.retain(|known| !known.starts_with(path));
                fs::remove_dir_all(full)
            }
            Ok(_) => fs::remove_file(full),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the directories above an entry. None of them may be a link: it could lead outside.
    fn make_parents(&mut self, parent: &Path) -> io::Result<()> {
        if parent.as_os_str().is_empty() || self.known.contains(parent) {
            return Ok(());
        }
        let mut so_far = PathBuf::new();
        for part in parent.components() {
            so_far.push(part);
            if self.known.contains(&so_far) {
                continue;
            }
            let full = self.target.join(&so_far);
            match fs::symlink_metadata(&full) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(escapes(parent)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&full)?,
                Err(error) => return Err(error),
            }
            self.known.insert(so_far.clone());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        for (path, time) in std::mem::take(&mut self.times) {
            if path.is_dir() {
                entry::set_time(&path, time)?;
            }
        }
        Ok(())
    }
}

fn name_of(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

struct Hashing<R> {
    inner: R,
    context: ring::digest::Context,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, context: ring::digest::Context::new(&ring::digest::SHA256) }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.context.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
