//! Images as runtimes report them.

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of its configuration, `sha256:...`.
    pub id: String,
    /// Names and tags, normalized (`docker.io/library/busybox:latest`).
    pub references: Vec<String>,
    /// `repository@sha256:...` of the manifest, where it was pulled.
    pub digests: Vec<String>,
    /// Bytes of its layers as stored.
    pub size_bytes: u64,
    /// Its configured user (`USER`), numeric or a name; empty for root.
    pub user: String,
}

/// Credentials for one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct PullAuth {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}
