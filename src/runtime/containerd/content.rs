//! Gives the daemon an image: content, name, and unpacked layers. A lease holds it all together until it is named.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use containerd_client::services::v1::snapshots::{CommitSnapshotRequest, PrepareSnapshotRequest, StatSnapshotRequest};
use containerd_client::services::v1::{
    ApplyRequest, CreateImageRequest, Image as Named, InfoRequest, UpdateImageRequest, WriteAction, WriteContentRequest,
};
use containerd_client::tonic::Code;
use containerd_client::types::Descriptor;
use futures::stream;
use serde_json::json;

use super::api::{Api, Lease, SNAPSHOTTER, found, leased, made, system};
use super::images::{self, LABEL_CHAIN, LABEL_DIGEST, LABEL_ID, LABEL_SIZE, LABEL_USER};
use crate::runtime::images::registry::Remote;
use crate::runtime::images::{Configuration, archive, digest, reference};
use crate::runtime::{Error, Image};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Bytes of one message of content.
const WRITE_BYTES: usize = 1 << 20;

/// An image whose parts are all on this machine, outside of the daemon.
pub(super) struct Parts {
    names: Vec<String>,
    repository_digest: Option<String>,
    manifest: (String, Vec<u8>),
    config: (String, Vec<u8>),
    layers: Vec<Layer>,
}

struct Layer {
    descriptor: Descriptor,
    path: PathBuf,
}

impl Parts {
    /// Fetches all layers into `scratch`.
    pub(super) async fn fetch(reference: &str, remote: Remote, scratch: &Path) -> Result<Self, Error> {
        let name = reference::normalize(reference)?;
        let files: Vec<_> = (0..remote.manifest.layers.len()).map(|n| (n, scratch.join(n.to_string()))).collect();
        remote.fetch(files.clone()).await?;
        let layers = remote.manifest.layers.iter().zip(files).map(|(layer, (_, path))| {
            let size = std::fs::metadata(&path).map_or(0, |found| found.len());
            Layer { descriptor: descriptor(&layer.media_type, &layer.digest, size), path }
        });
        let config_type = remote.manifest.config.as_ref().map(|config| config.media_type.clone()).unwrap_or_default();
        Ok(Self {
            names: vec![name],
            repository_digest: Some(remote.repository_digest()),
            layers: layers.collect(),
            manifest: (media_type(&remote.manifest_bytes), remote.manifest_bytes),
            config: (config_type, remote.config),
        })
    }

    /// Opens the images of an archive, whose files go to `scratch`.
    pub(super) async fn open(path: &Path, scratch: &Path) -> Result<Vec<Self>, Error> {
        let (from, to) = (path.to_owned(), scratch.to_owned());
        let failed = |error: std::io::Error| Error::System(format!("cannot import {}: {error}", path.display()));
        let opened = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<Self>> {
            archive::open(&from, &to)?.into_iter().map(Self::of_archive).collect()
        });
        opened.await.map_err(|error| Error::System(error.to_string()))?.map_err(failed)
    }

    /// Archives of Docker have no manifest that a registry would have: one is written.
    fn of_archive(packed: archive::Packed) -> std::io::Result<Self> {
        let config = std::fs::read(&packed.config)?;
        let layers: Vec<Layer> = packed.layers.into_iter().map(layer_of_file).collect::<std::io::Result<_>>()?;
        let described = |d: &Descriptor| json!({ "mediaType": d.media_type, "digest": d.digest, "size": d.size });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": digest(&config), "size": config.len() },
            "layers": layers.iter().map(|layer| described(&layer.descriptor)).collect::<Vec<_>>(),
        });
        Ok(Self {
            names: packed.references,
            repository_digest: None,
            manifest: (MANIFEST_TYPE.to_owned(), manifest.to_string().into_bytes()),
            config: (CONFIG_TYPE.to_owned(), config),
            layers,
        })
    }
}

fn layer_of_file(path: PathBuf) -> std::io::Result<Layer> {
    let mut file = File::open(&path)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; WRITE_BYTES];
    let (mut size, mut kind) = (0, "application/vnd.oci.image.layer.v1.tar");
    loop {
        let count = file.read(&mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if size == 0 && read.starts_with(&[0x1f, 0x8b]) {
            kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        } else if size == 0 && read.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            kind = "application/vnd.oci.image.layer.v1.tar+zstd";
        }
        if count == 0 {
            break;
        }
        context.update(read);
        size += count as u64;
    }
    let name = crate::runtime::images::digest_text(context.finish().as_ref());
    Ok(Layer { descriptor: descriptor(kind, &name, size), path })
}

fn media_type(manifest: &[u8]) -> String {
    let parsed: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
    parsed.get("mediaType").and_then(serde_json::Value::as_str).unwrap_or(MANIFEST_TYPE).to_owned()
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_owned(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        ..Descriptor::default()
    }
}

/// Hands an image over: content, layers, then its names.
pub(super) async fn take(api: &Api, parts: &Parts) -> Result<Image, Error> {
    let lease = api.lease().await?;
    let taken = take_leased(api, parts, &lease).await;
    api.release(lease).await;
    taken
}

async fn take_leased(api: &Api, parts: &Parts, lease: &Lease) -> Result<Image, Error> {
    let config: Configuration = serde_json::from_slice(&parts.config.1)
        .map_err(|error| Error::System(format!("the configuration of an image cannot be read: {error}")))?;
    if config.rootfs.diff_ids.len() != parts.layers.len() {
        return Err(Error::System("an image whose configuration and manifest do not agree about layers".to_owned()));
    }
    for layer in &parts.layers {
        write_file(api, layer, lease).await?;
    }
    let id = digest(&parts.config.1);
    let chains = chain_ids(&config.rootfs.diff_ids);
    let chain = chains.last().cloned().unwrap_or_default();
    let mut labels = HashMap::new();
    if !chain.is_empty() {
        labels.insert(format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"), chain.clone());
    }
    write_bytes(api, &parts.config.1, &id, labels, lease).await?;
    let manifest_digest = digest(&parts.manifest.1);
    write_bytes(api, &parts.manifest.1, &manifest_digest, references(parts, &id), lease).await?;
    unpack(api, parts, &chains, lease).await?;
    let labels = image_labels(parts, &id, &chain, &config);
    let target = descriptor(&parts.manifest.0, &manifest_digest, parts.manifest.1.len() as u64);
    for name in &parts.names {
        put_name(api, name, &target, &labels).await?;
    }
    if parts.names.is_empty() {
        put_name(api, &id, &target, &labels).await?;
    }
    images::find(api, &id).await?.ok_or_else(|| Error::System(format!("image {id} is gone as soon as it was made")))
}

fn image_labels(parts: &Parts, id: &str, chain: &str, config: &Configuration) -> HashMap<String, String> {
    let size: i64 = parts.layers.iter().map(|layer| layer.descriptor.size).sum();
    let user = config.config.as_ref().and_then(|config| config.user.clone()).unwrap_or_default();
    let mut labels: HashMap<String, String> = [
        (LABEL_ID, id.to_owned()),
        (LABEL_CHAIN, chain.to_owned()),
        (LABEL_SIZE, size.to_string()),
        (LABEL_USER, user),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    labels.extend(parts.repository_digest.iter().map(|digest| (LABEL_DIGEST.to_owned(), digest.clone())));
    labels
}

/// What the manifest keeps from being collected.
fn references(parts: &Parts, config: &str) -> HashMap<String, String> {
    let layers = parts.layers.iter().enumerate();
    layers
        .map(|(n, layer)| (format!("containerd.io/gc.ref.content.l.{n}"), layer.descriptor.digest.clone()))
        .chain([("containerd.io/gc.ref.content.config".to_owned(), config.to_owned())])
        .collect()
}

/// Names of the unpacked states, lowest first: each is the digest of the one below and of its own layer (as the OCI image
/// specification defines chain ids).
fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for diff_id in diff_ids {
        let chain =
            chains.last().map_or_else(|| diff_id.clone(), |below| digest(format!("{below} {diff_id}").as_bytes()));
        chains.push(chain);
    }
    chains
}

async fn unpack(api: &Api, parts: &Parts, chains: &[String], lease: &Lease) -> Result<(), Error> {
    let mut parent = String::new();
    for (layer, chain) in parts.layers.iter().zip(chains) {
        let stat = StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: chain.clone() };
        if found(api.snapshots().stat(leased(stat, lease)).await, "look for a layer")?.is_none() {
            unpack_layer(api, layer, chain, &parent, lease).await?;
        }
        parent.clone_from(chain);
    }
    Ok(())
}

async fn unpack_layer(api: &Api, layer: &Layer, chain: &str, parent: &str, lease: &Lease) -> Result<(), Error> {
    let key = api.unique("extract");
    let prepare = PrepareSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: key.clone(),
        parent: parent.to_owned(),
        labels: HashMap::new(),
    };
    let prepared = api.snapshots().prepare(leased(prepare, lease)).await;
    let mounts = prepared.map_err(|status| system("prepare a layer", &status))?.into_inner().mounts;
    let apply = ApplyRequest { diff: Some(layer.descriptor.clone()), mounts, ..ApplyRequest::default() };
    let applied = api.diffs().apply(leased(apply, lease)).await;
    applied.map_err(|status| system("unpack a layer", &status))?;
    let commit = CommitSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        name: chain.to_owned(),
        key,
        labels: HashMap::new(),
    };
    made(api.snapshots().commit(leased(commit, lease)).await, "keep a layer")
}

async fn put_name(api: &Api, name: &str, target: &Descriptor, labels: &HashMap<String, String>) -> Result<(), Error> {
    let image =
        Some(Named { name: name.to_owned(), labels: labels.clone(), target: Some(target.clone()), ..Named::default() });
    let create = CreateImageRequest { image: image.clone(), ..CreateImageRequest::default() };
    match api.images().create(super::api::request(create)).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => {
            let update = UpdateImageRequest { image, ..UpdateImageRequest::default() };
            let updated = api.images().update(super::api::request(update)).await;
            updated.map(drop).map_err(|status| system("name an image", &status))
        }
        Err(status) => Err(system("name an image", &status)),
    }
}

async fn is_here(api: &Api, digest: &str, lease: &Lease) -> Result<bool, Error> {
    let info = InfoRequest { digest: digest.to_owned() };
    Ok(found(api.content().info(leased(info, lease)).await, "look for content")?.is_some())
}

async fn write_bytes(
    api: &Api,
    bytes: &[u8],
    digest: &str,
    labels: HashMap<String, String>,
    lease: &Lease,
) -> Result<(), Error> {
    let total = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let message = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: api.unique("write"),
        total,
        expected: digest.to_owned(),
        offset: 0,
        data: bytes.to_vec(),
        labels,
    };
    let written = api.content().write(leased(stream::iter([message]), lease)).await;
    finish(written).await
}

async fn write_file(api: &Api, layer: &Layer, lease: &Lease) -> Result<(), Error> {
    let digest = layer.descriptor.digest.clone();
    if is_here(api, &digest, lease).await? {
        return Ok(());
    }
    let file = File::open(&layer.path).map_err(|error| super::pods::system("read a layer", &error))?;
    let state =
        Upload { file, name: api.unique("write"), digest, total: layer.descriptor.size, offset: 0, ended: false };
    let messages = stream::unfold(state, |mut upload| async move { Some((upload.next()?, upload)) });
    finish(api.content().write(leased(messages, lease)).await).await
}

/// A layer on its way.
struct Upload {
    file: File,
    name: String,
    digest: String,
    total: i64,
    offset: i64,
    ended: bool,
}

impl Upload {
    fn next(&mut self) -> Option<WriteContentRequest> {
        if self.ended {
            return None;
        }
        let mut data = Vec::new();
        // A file that cannot be read on is short, and its digest is then refused.
        let _ = self.file.by_ref().take(WRITE_BYTES as u64).read_to_end(&mut data);
        let offset = self.offset;
        self.offset += i64::try_from(data.len()).unwrap_or(0);
        self.ended = data.is_empty() || self.offset >= self.total;
        let action = if self.ended { WriteAction::Commit } else { WriteAction::Write };
        Some(WriteContentRequest {
            action: action.into(),
            r#ref: self.name.clone(),
            total: self.total,
            expected: self.digest.clone(),
            offset,
            data,
            labels: HashMap::new(),
        })
    }
}

type Written = Result<
    containerd_client::tonic::Response<
        containerd_client::tonic::Streaming<containerd_client::services::v1::WriteContentResponse>,
    >,
    containerd_client::tonic::Status,
>;

async fn finish(written: Written) -> Result<(), Error> {
    let result = async {
        let mut answers = written?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    };
    made(result.await, "take content")
}
