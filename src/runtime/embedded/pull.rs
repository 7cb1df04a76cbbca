//! Takes an image from a registry into the store.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::runtime::images::Configuration;
use crate::runtime::images::reference::normalize;
use crate::runtime::images::registry::Remote;
use crate::runtime::images::store::ImageStore;
use crate::runtime::{Error, Image};

/// Fetches and unpacks the layers that are not here. The caller holds an [`Ingest`](crate::runtime::images::store::Ingest).
pub(super) async fn take(images: &Arc<ImageStore>, reference: &str, remote: Remote) -> Result<Image, Error> {
    let failed = |reason: String| Error::Pull { reference: reference.to_owned(), reason };
    let config: Configuration =
        serde_json::from_slice(&remote.config).map_err(|error| failed(format!("its configuration: {error}")))?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != remote.manifest.layers.len() {
        return Err(failed("its configuration does not name as many layers as its manifest".to_owned()));
    }
    let directory = images.temporary().map_err(|error| failed(error.to_string()))?;
    let missing: Vec<usize> =
        (0..diff_ids.len()).filter(|n| diff_ids.get(*n).is_some_and(|id| !images.has_layer(id))).collect();
    let files: Vec<(usize, PathBuf)> = missing.iter().map(|n| (*n, directory.join(n.to_string()))).collect();
    let fetched = remote.fetch(files.clone()).await;
    let (store, name) = (Arc::clone(images), reference.to_owned());
    super::blocking(move || {
        let result = fetched.and_then(|()| unpack(&store, &name, &diff_ids, &files));
        // What is left of it goes at the next start.
        let _ = std::fs::remove_dir_all(&directory);
        result?;
        let digest = remote.repository_digest();
        Ok(store.put_image(&remote.config, Some(&normalize(&name)?), Some(digest))?.image())
    })
    .await
}

fn unpack(store: &ImageStore, name: &str, diff_ids: &[String], files: &[(usize, PathBuf)]) -> Result<(), Error> {
    for (number, path) in files {
        let Some(diff_id) = diff_ids.get(*number) else { continue };
        put(store, diff_id, path).map_err(|error| Error::Pull {
            reference: name.to_owned(),
            reason: format!("failed to extract layer {diff_id}: {error}"),
        })?;
    }
    Ok(())
}

fn put(store: &ImageStore, diff_id: &str, path: &Path) -> std::io::Result<()> {
    // The same layer may be in an image twice.
    if store.has_layer(diff_id) { Ok(()) } else { store.put_layer(diff_id, File::open(path)?) }
}
