//! Why a runtime did not do what it was asked.

/// A runtime's failure. State is as before the call unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such container, image or sandbox.
    #[error("{0} not found")]
    NotFound(String),
    /// The image reference is malformed (`InvalidImageName`).
    #[error("couldn't parse image name {0:?}")]
    InvalidReference(String),
    /// The registry could not be reached or answered with a failure (`ErrImagePull`).
    #[error("failed to pull image {reference:?}: {reason}")]
    Pull {
        /// The image.
        reference: String,
        /// What the registry or the transport said.
        reason: String,
    },
    /// The spec cannot be run (`CreateContainerConfigError`).
    #[error("{0}")]
    Config(String),
    /// The container could not be made (`CreateContainerError`).
    #[error("{0}")]
    Create(String),
    /// The container could not be started (`RunContainerError`): missing program, bad working directory, ...
    #[error("{0}")]
    Start(String),
    /// The kernel, the daemon or the disk failed; the text says what to do where something can be done.
    #[error("{0}")]
    System(String),
}
