//! Fetches images from OCI registries.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use tokio::io::AsyncWrite;

use super::archive::{Descriptor, Manifest, architecture};
use super::layer::LAYER_BYTES;
use super::reference::{Reference, valid_digest};
use crate::runtime::{Error, PullAuth};

/// Layers of one image that are fetched at the same time.
const LAYERS_AT_ONCE: usize = 3;
/// Layers of an image, at most.
const LAYERS: usize = 256;
/// Bytes of a configuration, at most.
const CONFIG_BYTES: u64 = 8 << 20;
/// Indexes inside of indexes, at most.
const DEPTH: u32 = 3;
/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Manifests that are understood.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// An image that a registry has, resolved for this machine; its layers are yet to be fetched.
pub struct Remote {
    client: Client,
    name: Reference,
    /// The manifest as it came.
    pub manifest_bytes: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration as it came.
    pub config: Vec<u8>,
    /// Digest of what the name means: the index's, where there is one.
    pub digest: String,
}

impl Remote {
    /// Asks a registry for what `reference` means.
    pub async fn open(reference: &str, auth: Option<&PullAuth>, plain_http: &[String]) -> Result<Self, Error> {
        let name = Reference::parse(reference)?;
        let failed = |error: OciDistributionError| pull_error(&name, reference, &error);
        let client = client(&name, plain_http);
        let auth = auth
            .map_or(RegistryAuth::Anonymous, |auth| RegistryAuth::Basic(auth.username.clone(), auth.password.clone()));
        let mut wanted = name.clone();
        let mut digest = None;
        for _ in 0..DEPTH {
            let (bytes, found) = client.pull_manifest_raw(&remote(&wanted), &auth, &ACCEPTED).await.map_err(failed)?;
            if wanted.digest.as_ref().is_some_and(|asked| *asked != super::digest(&bytes)) {
                return Err(damaged(reference, "it is not the one that its digest names"));
            }
            let top = digest.get_or_insert(found).clone();
            let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
            if manifest.manifests.is_empty() {
                let mut found = Self {
                    client,
                    name: name.clone(),
                    manifest_bytes: bytes.to_vec(),
                    manifest,
                    config: Vec::new(),
                    digest: top,
                };
                found.check(reference)?;
                found.config = found.fetch_config(reference).await?;
                return Ok(found);
            }
            let chosen = manifest.for_this_machine().ok_or_else(|| Error::Pull {
                reference: reference.to_owned(),
                reason: format!("no match for platform in manifest: it has no image for linux/{}", architecture()),
            })?;
            wanted = Reference { tag: None, digest: Some(chosen.digest.clone()), ..wanted };
        }
        Err(Error::Pull { reference: reference.to_owned(), reason: "indexes inside of indexes".to_owned() })
    }

    /// `repository@sha256:...`.
    pub fn repository_digest(&self) -> String {
        format!("{}@{}", self.name.name(), self.digest)
    }

    /// Fetches the layers whose numbers are in `wanted` (number, file to write), a few at the same time, and checks
    /// their digests.
    pub async fn fetch(&self, wanted: Vec<(usize, std::path::PathBuf)>) -> Result<(), Error> {
        let fetches = wanted.into_iter().map(|(number, path)| async move { self.fetch_layer(number, &path).await });
        stream::iter(fetches).buffer_unordered(LAYERS_AT_ONCE).try_collect().await
    }

    async fn fetch_layer(&self, number: usize, path: &Path) -> Result<(), Error> {
        let reference = self.name.to_string();
        let failed = |error: OciDistributionError| pull_error(&self.name, &reference, &error);
        let layer = self.manifest.layers.get(number).ok_or_else(|| Error::System(format!("no layer {number}")))?;
        let file = tokio::fs::File::create(path).await.map_err(|error| failed(error.into()))?;
        let limit = layer.size.unwrap_or(LAYER_BYTES).min(LAYER_BYTES);
        let out = Bounded { inner: file, left: limit };
        self.client.pull_blob(&remote(&self.name), &descriptor(layer), out).await.map_err(failed)
    }

    async fn fetch_config(&self, reference: &str) -> Result<Vec<u8>, Error> {
        let failed = |error: OciDistributionError| pull_error(&self.name, reference, &error);
        let config = self.manifest.config.as_ref().ok_or_else(|| damaged(reference, "it has no configuration"))?;
        let mut bytes = Vec::new();
        let out = Bounded { inner: &mut bytes, left: CONFIG_BYTES };
        self.client.pull_blob(&remote(&self.name), &descriptor(config), out).await.map_err(failed)?;
        Ok(bytes)
    }

    fn check(&self, reference: &str) -> Result<(), Error> {
        let blobs = || self.manifest.layers.iter().chain(&self.manifest.config);
        if self.manifest.layers.len() > LAYERS {
            return Err(damaged(reference, "it has too many layers"));
        }
        if blobs().any(|blob| !valid_digest(&blob.digest)) {
            return Err(damaged(reference, "it names a blob by something that is not a digest"));
        }
        if self.manifest.config.is_none() {
            return Err(damaged(reference, "it has no configuration"));
        }
        Ok(())
    }
}

fn damaged(reference: &str, what: &str) -> Error {
    Error::Pull { reference: reference.to_owned(), reason: format!("the manifest cannot be used: {what}") }
}

/// A client of its own for each pull: it remembers credentials, and those of one pod are not for another.
fn client(name: &Reference, plain_http: &[String]) -> Client {
    let plain = is_loopback(&name.registry) || plain_http.contains(&name.registry);
    let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
    Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        ..ClientConfig::default()
    })
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn remote(name: &Reference) -> oci_client::Reference {
    let (registry, repository) = (name.registry.clone(), name.repository.clone());
    match (&name.digest, &name.tag) {
        (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.clone()),
        (None, Some(tag)) => oci_client::Reference::with_tag(registry, repository, tag.clone()),
        (None, None) => oci_client::Reference::with_tag(registry, repository, super::reference::DEFAULT_TAG.to_owned()),
    }
}

fn descriptor(blob: &Descriptor) -> OciDescriptor {
    OciDescriptor {
        digest: blob.digest.clone(),
        size: blob.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
        annotations: Some(BTreeMap::new()),
        ..OciDescriptor::default()
    }
}

/// What users know from other runtimes: not found, denied, refused.
fn pull_error(name: &Reference, reference: &str, error: &OciDistributionError) -> Error {
    let denied = "pull access denied, repository does not exist or may require authorization: authorization failed";
    let reason = match error {
        OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => {
            format!("{name}: not found")
        }
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::ServerError { code: 401 | 403, .. } => denied.to_owned(),
        OciDistributionError::RegistryError { envelope, .. } => {
            let is = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
            let missing = [
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::NotFound,
                OciErrorCode::BlobUnknown,
            ];
            if is(&missing) {
                format!("{name}: not found")
            } else if is(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                denied.to_owned()
            } else {
                error.to_string()
            }
        }
        other => chain(other),
    };
    Error::Pull { reference: reference.to_owned(), reason }
}

/// An error's text and that of what caused it, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Refuses more than was promised.
struct Bounded<W> {
    inner: W,
    left: u64,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Bounded<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(io::Error::other("the registry sends more than it promised")));
        }
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.left -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_on_this_machine_are_spoken_to_without_tls() {
        for (registry, expect) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost", true),
            ("localhost.example.com", false),
            ("docker.io", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(registry), expect, "{registry}");
        }
    }
}
