//! Containers through a containerd daemon, in a namespace of our own.
//!
//! `api.rs` reaches the daemon; `content.rs` gives it images that we have fetched or opened ourselves; `images.rs` finds
//! them again; `containers.rs` makes, starts and looks at containers; `exec.rs` runs further processes; this file is the
//! [`ContainerRuntime`]. What the daemon has no place for (which pods are here) is a file a pod.

mod api;
mod containers;
mod content;
mod exec;
mod images;
mod pods;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::oci::Host;
use super::{
    ContainerId, ContainerRuntime, ContainerSpec, ContainerState, Error, ExecSession, ExecSpec, Exit, Image, PullAuth,
    SandboxSpec, cgroup, oci,
};
use crate::world::World;
use api::Api;
use pods::Pods;

/// The daemon's namespace for everything of ours.
const NAMESPACE: &str = "shoal";

/// How to reach containerd.
#[derive(Debug, Clone)]
pub struct ContainerdOptions {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// A directory of ours: which pods are here, pipes of execs, downloads.
    pub root: PathBuf,
    /// The program whose `log-pump` command writes logs; the running binary in a node.
    pub log_binary: PathBuf,
    /// Control group below the hierarchies' roots for all pods.
    pub cgroup_root: PathBuf,
    /// Registries that may be spoken to without TLS, beside those on loopback; `host:port`.
    pub plain_http: Vec<String>,
}

/// The runtime.
pub struct Containerd {
    api: Api,
    options: ContainerdOptions,
    pods: Pods,
    host: Host,
    world: World,
}

impl Containerd {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// [`Error::System`] where none answers.
    pub async fn connect(options: ContainerdOptions, world: World) -> Result<Arc<dyn ContainerRuntime>, Error> {
        let api = Api::connect(&options.socket, world.clone()).await?;
        api.version().await?;
        api.make_namespace().await?;
        let pods = Pods::open(&options.root)?;
        let host = oci::host::read(cgroup::is_v2());
        Ok(Arc::new(Self { api, options, pods, host, world }))
    }

    fn pod_cgroup(&self, sandbox: &SandboxSpec) -> PathBuf {
        Path::new("/").join(&self.options.cgroup_root).join(sandbox.cgroup.trim_start_matches('/'))
    }

    fn cgroup_of(&self, spec: &ContainerSpec) -> PathBuf {
        self.pod_cgroup(&spec.sandbox).join(format!("{}.{}", spec.id.container, spec.id.attempt))
    }

    /// A directory for a download or an archive, removed when dropped.
    fn scratch(&self) -> Result<pods::Scratch, Error> {
        pods::Scratch::new(&self.options.root, &*self.world.entropy)
    }
}

#[async_trait]
impl ContainerRuntime for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    async fn version(&self) -> Result<String, Error> {
        let version = self.api.version().await?;
        Ok(format!("containerd://{}", version.trim_start_matches('v')))
    }

    async fn pull(&self, reference: &str, auth: Option<&PullAuth>) -> Result<Image, Error> {
        let remote = super::images::registry::Remote::open(reference, auth, &self.options.plain_http).await?;
        let scratch = self.scratch()?;
        let parts = content::Parts::fetch(reference, remote, &scratch.path).await?;
        content::take(&self.api, &parts).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        images::find(&self.api, reference).await
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        images::all(&self.api).await
    }

    async fn import(&self, archive: &Path) -> Result<Vec<Image>, Error> {
        let scratch = self.scratch()?;
        let mut taken = Vec::new();
        for parts in content::Parts::open(archive, &scratch.path).await? {
            taken.push(content::take(&self.api, &parts).await?);
        }
        Ok(taken)
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        images::remove(&self.api, reference).await
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<(), Error> {
        self.pods.put(spec)
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), Error> {
        let sandbox = self.pods.get(pod_uid)?;
        for container in containers::all(&self.api).await? {
            if container.spec.id.pod_uid == pod_uid {
                self.remove(&container.spec.id).await?;
            }
        }
        if let Some(sandbox) = sandbox {
            remove_cgroup(self.pod_cgroup(&sandbox)).await?;
        }
        self.pods.remove(pod_uid)
    }

    async fn sandboxes(&self) -> Result<Vec<String>, Error> {
        self.pods.all()
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        if containers::get(&self.api, &spec.id).await?.is_some() {
            return Ok(());
        }
        let image = images::unpacked(&self.api, &spec.image_id).await?;
        containers::create(&self.api, spec, &image, &self.cgroup_of(spec), &self.host).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Error> {
        let container = self.container(id).await?;
        containers::start(&self.api, &container, &self.options.log_binary, self.world.clock.now()).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Error> {
        let container = self.container(id).await?;
        containers::signal(&self.api, &container.id, signal).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, Error> {
        let container = self.container(id).await?;
        let cgroup = self.cgroup_of(&container.spec);
        containers::wait(&self.api, &container, &cgroup, &self.world).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let Some(container) = containers::get(&self.api, id).await? else { return Ok(()) };
        containers::remove(&self.api, &container.id).await?;
        remove_cgroup(self.cgroup_of(&container.spec)).await
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, Error> {
        let tasks = containers::tasks(&self.api).await?;
        let all = containers::all(&self.api).await?;
        let now = self.world.clock.now();
        Ok(all.into_iter().map(|found| found.state(tasks.get(&found.id), |spec| self.cgroup_of(spec), now)).collect())
    }

    async fn hold(&self, _: &str, _: Option<Duration>) -> Result<bool, Error> {
        Ok(false)
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, Error> {
        let container = self.container(id).await?;
        let scratch = self.scratch()?;
        exec::start(&self.api, &container, spec, scratch).await
    }
}

impl Containerd {
    async fn container(&self, id: &ContainerId) -> Result<containers::Found, Error> {
        let found = containers::get(&self.api, id).await?;
        found.ok_or_else(|| Error::NotFound(format!("container {id}")))
    }
}

/// Removing waits for processes to go, which blocks.
async fn remove_cgroup(path: PathBuf) -> Result<(), Error> {
    let removed = tokio::task::spawn_blocking(move || cgroup::remove(&path)).await;
    removed
        .map_err(|error| Error::System(error.to_string()))?
        .map_err(|error| Error::System(format!("cannot remove a cgroup: {error}")))
}
