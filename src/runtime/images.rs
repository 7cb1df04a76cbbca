//! Images: their names, where they come from, and (for the `embedded` runtime) where their content lives.
//!
//! `reference.rs` reads names; `archive.rs` opens Docker and OCI archives; `registry.rs` talks to registries;
//! `layer.rs` unpacks one layer for overlayfs; `store.rs` keeps what was unpacked; `toolbox.rs` packs the built-in image
//! from the running binary.

pub mod archive;
mod entry;
pub mod layer;
pub mod reference;
pub mod registry;
pub mod store;
pub mod toolbox;

use serde::Deserialize;

use super::oci::ImageConfig;

/// An OCI image configuration, as far as it is looked at.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Configuration {
    /// How to run it.
    #[serde(default)]
    pub config: Option<ImageConfig>,
    /// What its root file system is made of.
    #[serde(default)]
    pub rootfs: RootFs,
}

/// Layers of an image, by the digests of their uncompressed archives, lowest first.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RootFs {
    /// `sha256:...`.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// `sha256:` and the digest of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    digest_text(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

pub(in crate::runtime) fn digest_text(raw: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in raw {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    text
}
