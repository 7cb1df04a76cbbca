//! Opens Docker (`docker save`) and OCI layout archives: which images are in them, and where their parts are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::layer::{decompress, inside};
use super::reference::{normalize, valid_digest};

/// Files in an archive, at most.
const FILES: usize = 10_000;
/// Bytes of a manifest, index or configuration, at most.
const DOCUMENT_BYTES: u64 = 8 << 20;
/// Indexes inside of indexes, at most.
const DEPTH: u32 = 4;
/// Largest archive, uncompressed.
const ARCHIVE_BYTES: u64 = 64 << 30;

/// An image in an unpacked archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Normalized names; may be empty.
    pub references: Vec<String>,
    /// Its configuration.
    pub config: PathBuf,
    /// Its layers' archives, lowest first.
    pub layers: Vec<PathBuf>,
}

/// Unpacks the archive's files into `target` and finds its images.
///
/// # Errors
/// Where it is damaged, too large, or neither kind.
pub fn open(archive: &Path, target: &Path) -> io::Result<Vec<Packed>> {
    let files = Files::unpack(File::open(archive)?, target)?;
    if files.path("manifest.json").is_ok() {
        docker(&files)
    } else if files.path("index.json").is_ok() {
        layout(&files)
    } else {
        Err(io::Error::other("neither a Docker nor an OCI archive: it has no manifest.json and no index.json"))
    }
}

struct Files {
    root: PathBuf,
    /// Old Docker archives say "the same as that one" with links.
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Files {
    fn unpack(source: impl Read, root: &Path) -> io::Result<Self> {
        let mut files = Self { root: root.to_owned(), links: BTreeMap::new() };
        let mut archive = tar::Archive::new(decompress(source)?.take(ARCHIVE_BYTES));
        for (count, entry) in archive.entries()?.enumerate() {
            if count > FILES {
                return Err(io::Error::other(format!("an archive of more than {FILES} files")));
            }
            files.put(&mut entry?)?;
        }
        Ok(files)
    }

    fn put<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        let Some(path) = inside(&entry.path()?)? else { return Ok(()) };
        match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let full = self.root.join(&path);
                fs::create_dir_all(full.parent().unwrap_or(&self.root))?;
                io::copy(entry, &mut File::create(full)?)?;
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let from = if entry.header().entry_type().is_symlink() { path.parent() } else { None };
                let to = from.unwrap_or(Path::new("")).join(entry.link_name()?.unwrap_or_default());
                self.links.insert(path, flatten(&to));
            }
            _ => {}
        }
        Ok(())
    }

    fn path(&self, name: impl AsRef<Path>) -> io::Result<PathBuf> {
        let name = inside(name.as_ref())?.ok_or(io::ErrorKind::NotFound)?;
        let name = match self.links.get(&name) {
            Some(target) => inside(target)?.ok_or(io::ErrorKind::NotFound)?,
            None => name,
        };
        let path = self.root.join(&name);
        let found = path.try_exists()?;
        found.then_some(path).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{} is missing from the archive", name.display()))
        })
    }

    fn document<T: for<'de> Deserialize<'de>>(&self, name: impl AsRef<Path>) -> io::Result<T> {
        let mut bytes = Vec::new();
        File::open(self.path(&name)?)?.take(DOCUMENT_BYTES).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::other(format!("{}: {error}", name.as_ref().display())))
    }

    fn blob(&self, digest: &str) -> io::Result<PathBuf> {
        self.path(blob_name(digest)?)
    }
}

/// Takes `..` out of a link's path, as following it would.
fn flatten(path: &Path) -> PathBuf {
    let mut flat = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(flat.pop()),
            std::path::Component::Normal(name) => flat.push(name),
            _ => {}
        }
    }
    flat
}

fn blob_name(digest: &str) -> io::Result<String> {
    if !valid_digest(digest) {
        return Err(io::Error::other(format!("{digest:?} is not a digest")));
    }
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: PathBuf,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

fn docker(files: &Files) -> io::Result<Vec<Packed>> {
    let images: Vec<DockerImage> = files.document("manifest.json")?;
    let packed = |image: DockerImage| {
        Ok(Packed {
            references: image.repo_tags.unwrap_or_default().iter().filter_map(|tag| normalize(tag).ok()).collect(),
            config: files.path(image.config)?,
            layers: image.layers.iter().map(|layer| files.path(layer)).collect::<io::Result<_>>()?,
        })
    };
    images.into_iter().map(packed).collect()
}

/// A descriptor in an index or a manifest, as far as it is looked at.
#[derive(Debug, Clone, Deserialize)]
pub struct Descriptor {
    /// `sha256:...`.
    pub digest: String,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// What it is.
    #[serde(default, rename = "mediaType")]
    pub media_type: String,
    /// The machine that it is for.
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The machine that a manifest is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

/// An index, or a manifest: whichever has its fields.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// Of an index: one a platform.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Of a manifest.
    #[serde(default)]
    pub config: Option<Descriptor>,
    /// Of a manifest, lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// The entry of an index that is for this machine; one that does not say is taken where it is the only one.
    pub fn for_this_machine(&self) -> Option<&Descriptor> {
        let here =
            |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture());
        self.manifests.iter().find(here).or(match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        })
    }
}

/// This machine's architecture in the words of images.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layout(files: &Files) -> io::Result<Vec<Packed>> {
    let index: Manifest = files.document("index.json")?;
    let packed = |descriptor: &Descriptor| {
        let manifest = resolve(files, descriptor, DEPTH)?;
        let config = manifest.config.ok_or_else(|| io::Error::other("a manifest without a configuration"))?;
        let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let name = name.iter().find_map(|key| descriptor.annotations.get(*key));
        Ok(Packed {
            references: name.and_then(|name| normalize(name).ok()).into_iter().collect(),
            config: files.blob(&config.digest)?,
            layers: manifest.layers.iter().map(|layer| files.blob(&layer.digest)).collect::<io::Result<_>>()?,
        })
    };
    index.manifests.iter().map(packed).collect()
}

fn resolve(files: &Files, descriptor: &Descriptor, depth: u32) -> io::Result<Manifest> {
    let manifest: Manifest = files.document(blob_name(&descriptor.digest)?)?;
    if manifest.manifests.is_empty() {
        return Ok(manifest);
    }
    let chosen = manifest.for_this_machine().filter(|_| depth > 0);
    let chosen = chosen.ok_or_else(|| io::Error::other(format!("no image for linux/{}", architecture())))?;
    resolve(files, chosen, depth - 1)
}
