//! The door to containers, images, pod networks and volumes: traits, each with its real implementation and its fake.
//!
//! [`ContainerRuntime`] is the only way to a container. `containerd` drives a containerd daemon; `embedded` runs OCI
//! containers without a daemon, through a per-pod shim that is this same binary; `hollow` only pretends, for scale and
//! for the simulator. One contract test runs over all three.

pub mod cgroup;
pub mod container;
pub mod containerd;
pub mod embedded;
pub mod error;
pub mod hollow;
pub mod image;
pub mod images;
pub mod logs;
pub mod machine;
pub mod netns;
pub mod network;
pub mod nft;
pub mod oci;
pub mod probe;
pub mod shim;
pub mod volume;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;

pub use container::{ContainerId, ContainerSpec, ContainerState, ExecSession, ExecSpec, Exit, Phase, SandboxSpec};
pub use error::Error;
pub use image::{Image, PullAuth};
pub use network::{PodAddresses, PodNetwork};

/// Runs the commands that this binary gives itself (`shim`, `log-pump`), where `args` (without the program's name) ask for
/// one. To be called first in `main`: they must not find other threads.
pub fn hidden_command(args: &[OsString]) -> Option<ExitCode> {
    let (command, rest) = args.split_first()?;
    match command.to_str()? {
        "shim" => Some(shim::main(rest)),
        "log-pump" => Some(logs::pump::main(rest)),
        _ => None,
    }
}

/// Runs containers. Every call is idempotent: repeating it after a crash in the middle is safe.
#[async_trait]
pub trait ContainerRuntime: Send + Sync + 'static {
    /// `containerd`, `embedded` or `hollow`.
    fn name(&self) -> &'static str;

    /// As `Node.status.nodeInfo.containerRuntimeVersion` prints it, e.g. `containerd://1.6.20`.
    async fn version(&self) -> Result<String, Error>;

    /// Fetches an image, whether or not it is here.
    async fn pull(&self, reference: &str, auth: Option<&PullAuth>) -> Result<Image, Error>;

    /// An image that is here, by reference or id.
    async fn image(&self, reference: &str) -> Result<Option<Image>, Error>;

    /// All images that are here.
    async fn images(&self) -> Result<Vec<Image>, Error>;

    /// Takes the images in a Docker or OCI archive (tar, optionally gzip).
    async fn import(&self, archive: &Path) -> Result<Vec<Image>, Error>;

    /// Removes an image's name, and its content where nothing else uses it.
    async fn remove_image(&self, reference: &str) -> Result<(), Error>;

    /// Makes what the pod's containers share (the network is [`PodNetwork`]'s, and made before this).
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<(), Error>;

    /// Removes a sandbox and every container in it, killing what still runs.
    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), Error>;

    /// Pod uids of all sandboxes that are here.
    async fn sandboxes(&self) -> Result<Vec<String>, Error>;

    /// Makes a container, not yet started.
    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error>;

    /// Starts a created container.
    async fn start(&self, id: &ContainerId) -> Result<(), Error>;

    /// Sends a signal to the container's first process. A container that has ended is not an error.
    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Error>;

    /// Waits for the container's end; answers at once where it has ended already. Cancel-safe.
    async fn wait(&self, id: &ContainerId) -> Result<Exit, Error>;

    /// Removes a container, killing it where it still runs. Its log stays until the sandbox goes.
    async fn remove(&self, id: &ContainerId) -> Result<(), Error>;

    /// Every container that is here, with its state: what a restarted node adopts.
    async fn containers(&self) -> Result<Vec<ContainerState>, Error>;

    /// Kills the pod's containers unless this is said again `within` that time, even where the node's process is gone
    /// then; with `None` no more. False where this runtime has nobody to do it.
    async fn hold(&self, pod_uid: &str, within: Option<Duration>) -> Result<bool, Error>;

    /// Starts another process in a running container.
    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, Error>;
}
