//! The built-in image, packed from the running binary: the program, the libraries that it is linked with, and its names.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::archive::architecture;
use super::digest;
use crate::runtime::{ContainerRuntime, Error};

/// Its name.
pub const NAME: &str = "shoal.local/toolbox:latest";
/// Where the program is in it.
const PROGRAM: &str = "bin/shoal";
/// The user that it has beside root.
const NONROOT: u32 = 65_532;

/// Packs the image where the runtime has none that was made of this binary, and takes it in. `scratch` is a directory of
/// the caller's, where a note says what was packed; `programs` are the names that the binary answers to (`sh`, ...).
pub async fn ensure(
    runtime: &dyn ContainerRuntime,
    binary: &Path,
    programs: &[&str],
    scratch: &Path,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::System(format!("cannot pack the image {NAME}: {error}"));
    let note = scratch.join("toolbox.note");
    let made_of = identity(binary).map_err(failed)?;
    if let Some(image) = runtime.image(NAME).await?
        && fs::read_to_string(&note).is_ok_and(|seen| seen == format!("{made_of} {}", image.id))
    {
        return Ok(());
    }
    let archive = scratch.join("toolbox.tar");
    let (from, to) = (binary.to_owned(), archive.clone());
    let programs: Vec<String> = programs.iter().map(|name| (*name).to_owned()).collect();
    let packed = tokio::task::spawn_blocking(move || pack(&from, &programs, &to)).await;
    packed.map_err(|error| Error::System(error.to_string()))?.map_err(failed)?;
    let images = runtime.import(&archive).await;
    // It is in the runtime's own store now, or never will be.
    let _ = fs::remove_file(&archive);
    match images?.first() {
        Some(image) => fs::write(note, format!("{made_of} {}", image.id)).map_err(failed),
        None => Err(Error::System(format!("the image {NAME} was packed without content"))),
    }
}

/// Changes whenever the binary does.
fn identity(binary: &Path) -> io::Result<String> {
    let found = fs::metadata(binary)?;
    Ok(format!("{}:{}:{}:{}:{}", found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// Writes a Docker archive with the image to `target`.
pub fn pack(binary: &Path, programs: &[String], target: &Path) -> io::Result<()> {
    let layer_path = target.with_extension("layer");
    let layer = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&layer_path)?;
    let result = pack_with(layer, binary, programs, target);
    fs::remove_file(layer_path)?;
    result
}

fn pack_with(layer: File, binary: &Path, programs: &[String], target: &Path) -> io::Result<()> {
    let mut hashing =
        Hashing { inner: BufWriter::new(layer), context: ring::digest::Context::new(&ring::digest::SHA256) };
    write_layer(&mut hashing, binary, programs)?;
    let diff_id = super::digest_text(hashing.context.finish().as_ref());
    let mut layer = hashing.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    layer.rewind()?;
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {
            "Entrypoint": ["/bin/shoal", "toolbox"],
            "Env": [format!("PATH={}", crate::runtime::oci::defaults::PATH)],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let config = config.to_string();
    let config_name = format!("{}.json", digest(config.as_bytes()).trim_start_matches("sha256:"));
    let manifest = json!([{ "Config": config_name, "RepoTags": [NAME], "Layers": ["layer.tar"] }]).to_string();
    let out = File::options().write(true).create(true).truncate(true).mode(0o600).open(target)?;
    let mut archive = tar::Builder::new(BufWriter::new(out));
    let mut header = header(0o644, layer.metadata()?.len());
    archive.append_data(&mut header, "layer.tar", layer)?;
    put(&mut archive, &config_name, 0o644, config.as_bytes())?;
    put(&mut archive, "manifest.json", 0o644, manifest.as_bytes())?;
    archive.into_inner()?.flush()
}

fn write_layer(out: impl Write, binary: &Path, programs: &[String]) -> io::Result<()> {
    let mut layer = tar::Builder::new(out);
    for (name, mode) in
        [("bin", 0o755), ("etc", 0o755), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("root", 0o700)]
    {
        directory(&mut layer, name, mode, 0)?;
    }
    directory(&mut layer, "tmp", 0o1777, 0)?;
    directory(&mut layer, "home", 0o755, 0)?;
    directory(&mut layer, "home/nonroot", 0o700, NONROOT)?;
    let passwd =
        format!("root:x:0:0:root:/root:/bin/sh\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/home/nonroot:/bin/sh\n");
    put(&mut layer, "etc/passwd", 0o644, passwd.as_bytes())?;
    put(&mut layer, "etc/group", 0o644, format!("root:x:0:\nnonroot:x:{NONROOT}:\n").as_bytes())?;
    put(&mut layer, "etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    file(&mut layer, PROGRAM, binary)?;
    for name in programs {
        let mut header = header(0o777, 0);
        header.set_entry_type(tar::EntryType::Symlink);
        layer.append_link(&mut header, format!("bin/{name}"), "shoal")?;
    }
    for library in libraries(binary)? {
        let name = library.strip_prefix("/").unwrap_or(&library).to_owned();
        file(&mut layer, &name.to_string_lossy(), &library)?;
    }
    layer.into_inner().map(drop)
}

/// The shared libraries and the loader that this process runs with, by the paths that the loader looks for: where a file
/// is a link's target, the link's name counts (`/lib64/ld-linux-x86-64.so.2`).
fn libraries(binary: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    if let Some(loader) = interpreter(binary)? {
        found.insert(loader);
    }
    let maps = fs::read_to_string("/proc/self/maps")?;
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.contains(".so"));
    found.extend(paths.map(PathBuf::from));
    Ok(found)
}

/// The loader that an ELF file asks for (its `PT_INTERP` segment); `None` for a static one.
fn interpreter(binary: &Path) -> io::Result<Option<PathBuf>> {
    const PT_INTERP: u32 = 3;
    let mut file = File::open(binary)?;
    let mut head = [0u8; 64];
    file.read_exact(&mut head)?;
    let number = |bytes: &[u8], at: usize, length: usize| {
        let part = bytes.get(at..at + length).unwrap_or_default();
        part.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    if head.get(..5) != Some(b"\x7fELF\x02".as_slice()) {
        return Ok(None);
    }
    let (table, size, count) = (number(&head, 32, 8), number(&head, 54, 2), number(&head, 56, 2));
    for index in 0..count {
        let mut segment = [0u8; 56];
        file.seek(io::SeekFrom::Start(table + index * size))?;
        file.read_exact(&mut segment)?;
        if number(&segment, 0, 4) == u64::from(PT_INTERP) {
            let mut path = Vec::new();
            file.seek(io::SeekFrom::Start(number(&segment, 8, 8)))?;
            file.take(number(&segment, 32, 8).min(4096)).read_to_end(&mut path)?;
            let path = String::from_utf8_lossy(&path).trim_end_matches('\0').to_owned();
            return Ok(Some(PathBuf::from(path)));
        }
    }
    Ok(None)
}

fn header(mode: u32, size: u64) -> tar::Header {
    // The same binary makes the same image: no times, no owners of the machine that packs it.
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn directory<W: Write>(archive: &mut tar::Builder<W>, name: &str, mode: u32, owner: u32) -> io::Result<()> {
    let mut header = header(mode, 0);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    archive.append_data(&mut header, format!("{name}/"), io::empty())
}

fn put<W: Write>(archive: &mut tar::Builder<W>, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(mode, bytes.len() as u64), name, bytes)
}

fn file<W: Write>(archive: &mut tar::Builder<W>, name: &str, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    archive.append_data(&mut header(0o755, size), name, file)
}

struct Hashing<W> {
    inner: W,
    context: ring::digest::Context,
}

impl<W: Write> Write for &mut Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
