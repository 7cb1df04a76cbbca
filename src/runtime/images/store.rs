//! The embedded runtime's images on disk: an index, configurations, and layers unpacked once.
//!
//! `index.json` names everything that counts; it is replaced by rename after what it names is there, so a crash leaves
//! at most files that nothing names, and those go at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::reference::normalize;
use super::{Configuration, archive, layer};
use crate::runtime::oci::ImageConfig;
use crate::runtime::{Error, Image};

/// Characters of a digest that name a layer's directory: enough to be unique, few enough that a long list of layers fits
/// into the one page that mount options have.
const NAME_CHARS: usize = 32;

/// Images below one directory.
pub struct ImageStore {
    root: PathBuf,
    index: Mutex<Index>,
    next_temporary: AtomicU64,
    /// Pulls and imports that are going on: their layers are not in the index yet.
    ingesting: AtomicU64,
}

/// While one lives, no layer is removed.
pub struct Ingest<'a>(&'a ImageStore);

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        self.0.ingesting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    images: BTreeMap<String, Record>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Digest of its configuration.
    pub id: String,
    /// Normalized names.
    pub references: BTreeSet<String>,
    /// `repository@sha256:...`.
    pub digests: BTreeSet<String>,
    /// Digests of its uncompressed layers, lowest first.
    pub layers: Vec<String>,
    /// Bytes of their files.
    pub size_bytes: u64,
    /// How to run it.
    pub config: ImageConfig,
}

impl Record {
    /// As runtimes report it.
    pub fn image(&self) -> Image {
        Image {
            id: self.id.clone(),
            references: self.references.iter().cloned().collect(),
            digests: self.digests.iter().cloned().collect(),
            size_bytes: self.size_bytes,
            user: self.config.user.clone().unwrap_or_default(),
        }
    }
}

impl ImageStore {
    /// Opens the store, and removes what a crash has left.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let make = |name: &str| fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(name));
        let index = make("layers")
            .and_then(|()| clear(&root.join("temporary")))
            .and_then(|()| make("temporary"))
            .and_then(|()| read_index(root))
            .map_err(|error| system("open the image store", &error))?;
        let store = Self {
            root: root.to_owned(),
            index: Mutex::new(index),
            next_temporary: AtomicU64::new(0),
            ingesting: AtomicU64::new(0),
        };
        store.collect_garbage(&store.index.lock()).map_err(|error| system("clean the image store", &error))?;
        Ok(store)
    }

    /// All images.
    pub fn images(&self) -> Vec<Record> {
        self.index.lock().images.values().cloned().collect()
    }

    /// An image by id, name, or `repository@digest`.
    pub fn find(&self, reference: &str) -> Option<Record> {
        let index = self.index.lock();
        if let Some(record) = index.images.get(reference) {
            return Some(record.clone());
        }
        let name = normalize(reference).ok()?;
        // `name:tag@digest` is the image with that digest.
        let by_digest = name.split_once('@').map(|(head, digest)| {
            let repository = head.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(head, |(r, _)| r);
            format!("{repository}@{digest}")
        });
        let matches = |record: &&Record| {
            record.references.contains(&name)
                || by_digest.as_ref().is_some_and(|digest| record.digests.contains(digest))
        };
        index.images.values().find(matches).cloned()
    }

    /// Where layers are, and the names of an image's in there, topmost first.
    pub fn layers(&self, record: &Record) -> (PathBuf, Vec<String>) {
        (self.root.join("layers"), record.layers.iter().rev().map(|id| directory_name(id)).collect())
    }

    /// Whether a layer is here.
    pub fn has_layer(&self, diff_id: &str) -> bool {
        self.layer_path(diff_id).exists()
    }

    /// A fresh directory, removed at the next start where nobody did.
    pub fn temporary(&self) -> io::Result<PathBuf> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("temporary").join(number.to_string());
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Begins to take an image in.
    pub fn ingest(&self) -> Ingest<'_> {
        // Under the lock that removal holds: what is seen to be here from now on stays.
        let _index = self.index.lock();
        self.ingesting.fetch_add(1, Ordering::SeqCst);
        Ingest(self)
    }

    /// Takes the images in an archive.
    pub fn import(&self, path: &Path) -> Result<Vec<Record>, Error> {
        let failed = |error: io::Error| Error::System(format!("cannot import {}: {error}", path.display()));
        let _ingest = self.ingest();
        let directory = self.temporary().map_err(failed)?;
        let result = archive::open(path, &directory)
            .map_err(failed)
            .and_then(|images| images.iter().map(|packed| self.take(packed).map_err(failed)?).collect());
        clear(&directory).map_err(failed)?;
        result
    }

    fn take(&self, packed: &archive::Packed) -> io::Result<Result<Record, Error>> {
        let config = fs::read(&packed.config)?;
        let parsed: Configuration = serde_json::from_slice(&config)?;
        if parsed.rootfs.diff_ids.len() != packed.layers.len() {
            return Err(io::Error::other("the configuration does not name as many layers as the manifest"));
        }
        for (diff_id, layer) in parsed.rootfs.diff_ids.iter().zip(&packed.layers) {
            if !self.has_layer(diff_id) {
                self.put_layer(diff_id, fs::File::open(layer)?)?;
            }
        }
        let mut record = self.put_image(&config, packed.references.first().map(String::as_str), None);
        for reference in packed.references.iter().skip(1) {
            record = record.and_then(|_| self.put_image(&config, Some(reference), None));
        }
        Ok(record)
    }

    /// Unpacks a layer. Two at the same time are fine: the first one counts.
    ///
    /// # Errors
    /// Where the archive is damaged or is not the one that `diff_id` names.
    pub fn put_layer(&self, diff_id: &str, source: impl Read) -> io::Result<()> {
        let outer = self.temporary()?;
        let result = self.unpack_into(&outer, diff_id, source);
        clear(&outer)?;
        result
    }

    fn unpack_into(&self, outer: &Path, diff_id: &str, source: impl Read) -> io::Result<()> {
        let directory = outer.join("layer");
        fs::create_dir(&directory)?;
        // What containers see as `/` where the archive does not say.
        fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let unpacked = layer::unpack(source, &directory)?;
        if unpacked.diff_id != diff_id {
            return Err(io::Error::other(format!("a layer is {} but should be {diff_id}", unpacked.diff_id)));
        }
        fs::write(self.size_path(diff_id), unpacked.size_bytes.to_string())?;
        match fs::rename(&directory, self.layer_path(diff_id)) {
            Err(_) if self.has_layer(diff_id) => Ok(()),
            other => other,
        }
    }

    /// Names an image whose layers are all here; takes `reference` from the image that had it.
    pub fn put_image(&self, config: &[u8], reference: Option<&str>, digest: Option<String>) -> Result<Record, Error> {
        let id = super::digest(config);
        let parsed: Configuration = serde_json::from_slice(config)
            .map_err(|error| Error::System(format!("the configuration of image {id} cannot be read: {error}")))?;
        let layers = parsed.rootfs.diff_ids;
        if let Some(missing) = layers.iter().find(|layer| !self.has_layer(layer)) {
            return Err(Error::System(format!("layer {missing} of image {id} is missing")));
        }
        let size_bytes = layers.iter().map(|layer| self.layer_size(layer)).sum();
        let mut index = self.index.lock();
        if let Some(reference) = reference {
            index.images.values_mut().for_each(|other| other.references.retain(|known| known != reference));
        }
        let record = index.images.entry(id.clone()).or_insert_with(|| Record {
            id,
            references: BTreeSet::new(),
            digests: BTreeSet::new(),
            layers,
            size_bytes,
            config: parsed.config.unwrap_or_default(),
        });
        record.references.extend(reference.map(str::to_owned));
        record.digests.extend(digest);
        let record = record.clone();
        self.save(&index)?;
        Ok(record)
    }

    /// Removes a name; with its last name, or by its id, the image and the layers that no other has.
    pub fn remove(&self, reference: &str) -> Result<(), Error> {
        let found = self.find(reference).ok_or_else(|| Error::NotFound(format!("image {reference}")))?;
        let mut index = self.index.lock();
        let name = normalize(reference).unwrap_or_default();
        if let Some(record) = index.images.get_mut(&found.id) {
            record.references.remove(&name);
            if reference == found.id || record.references.is_empty() || name.contains('@') {
                index.images.remove(&found.id);
            }
        }
        self.save(&index)?;
        self.collect_garbage(&index).map_err(|error| system("remove layers", &error))
    }

    fn layer_path(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(directory_name(diff_id))
    }

    fn size_path(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(format!("{}.size", directory_name(diff_id)))
    }

    fn layer_size(&self, diff_id: &str) -> u64 {
        fs::read_to_string(self.size_path(diff_id)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn save(&self, index: &Index) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let path = self.root.join("index.new");
            let file = fs::File::create(&path)?;
            serde_json::to_writer(&file, index)?;
            file.sync_data()?;
            fs::rename(path, self.root.join("index.json"))
        };
        write().map_err(|error| system("write the image index", &error))
    }

    /// Removes layers that no image has. Running containers keep theirs: an unlinked file lives while it is open, and
    /// callers do not remove images in use.
    fn collect_garbage(&self, index: &Index) -> io::Result<()> {
        if self.ingesting.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        let used: BTreeSet<_> =
            index.images.values().flat_map(|record| &record.layers).map(|l| directory_name(l)).collect();
        for entry in fs::read_dir(self.root.join("layers"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let layer = name.strip_suffix(".size").unwrap_or(&name);
            if !used.contains(layer) {
                clear(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn directory_name(diff_id: &str) -> String {
    diff_id.trim_start_matches("sha256:").chars().take(NAME_CHARS).collect()
}

fn read_index(root: &Path) -> io::Result<Index> {
    match fs::read(root.join("index.json")) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
        Err(error) => Err(error),
    }
}

fn clear(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn system(what: &str, error: &io::Error) -> Error {
    Error::System(format!("cannot {what}: {error}"))
}
