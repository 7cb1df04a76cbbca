//! Containers without a daemon: `libcontainer` in a small shim per pod, overlayfs, and an image store of our own.
//!
//! This side holds no state that matters: a pod is a directory (`layout.rs`) with a shim (`crate::runtime::shim`) that
//! listens in it, so a restarted node finds everything again by looking. `client.rs` talks to shims, `zygote.rs` gets new
//! ones, `bundle.rs` prepares containers, `pull.rs` takes
//! images in, `exec.rs` wires up further processes; this file is the [`ContainerRuntime`].

mod bundle;
mod client;
mod exec;
mod layout;
mod pull;
mod zygote;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::images::registry::Remote;
use super::images::store::ImageStore;
use super::oci::Host;
use super::shim::wire::{Reply, Request};
use super::{
    ContainerId, ContainerRuntime, ContainerSpec, ContainerState, Error, ExecSession, ExecSpec, Exit, Image, Phase,
    PullAuth, SandboxSpec, cgroup,
};
use crate::world::World;
use layout::{Layout, Prepared};

/// Where an embedded runtime keeps its things.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Images and what containers write; on a disk.
    pub root: PathBuf,
    /// Sockets and states; best on a `tmpfs`, so that they go with the containers when the machine restarts.
    pub run: PathBuf,
    /// The program whose `shim` command is the shim; the running binary in a node.
    pub shim_binary: PathBuf,
    /// Control group below the hierarchies' roots for all pods, e.g. `shoal`.
    pub cgroup_root: PathBuf,
    /// Registries that may be spoken to without TLS, beside those on loopback; `host:port`.
    pub plain_http: Vec<String>,
}

/// The runtime.
pub struct Embedded {
    layout: Layout,
    images: Arc<ImageStore>,
    zygote: zygote::Zygote,
    cgroup_root: PathBuf,
    host: Host,
    plain_http: Vec<String>,
    world: World,
}

/// Exit code of a container whose end nobody saw, because its shim was killed with it.
const UNSEEN: i32 = 137;

impl Embedded {
    /// Opens what is at `options`, and takes up the pods that run there.
    pub fn open(options: EmbeddedOptions, world: World) -> Result<Arc<dyn ContainerRuntime>, Error> {
        let images = Arc::new(ImageStore::open(&options.root.join("images"))?);
        let layout = Layout::open(&options.root, &options.run)?;
        let zygote = zygote::Zygote::new(options.shim_binary, options.cgroup_root.join("shims"));
        let host = super::oci::host::read(cgroup::is_v2());
        let EmbeddedOptions { cgroup_root, plain_http, .. } = options;
        Ok(Arc::new(Self { layout, images, zygote, cgroup_root, host, plain_http, world }))
    }

    /// The pod's shim's answer; `None` where there is no shim.
    async fn ask(&self, pod_uid: &str, request: &Request) -> Result<Option<Reply>, Error> {
        let pod = self.layout.pod(pod_uid)?;
        match client::Connection::open(&pod).await? {
            Some(mut connection) => connection.ask(request).await,
            None => Ok(None),
        }
    }

    /// The phases that the pod's shim knows, or, where it is gone, what it wrote down.
    async fn phases(&self, pod_uid: &str) -> Result<Option<BTreeMap<String, Phase>>, Error> {
        match self.ask(pod_uid, &Request::States).await? {
            Some(Reply::States(states)) => Ok(Some(states.into_iter().collect())),
            Some(other) => Err(unexpected(&other)),
            None => Ok(None),
        }
    }

    fn phase(&self, prepared: &Prepared, known: Option<&BTreeMap<String, Phase>>) -> Phase {
        match known {
            Some(states) => states.get(&prepared.name).cloned().unwrap_or_else(|| prepared.failed_phase()),
            None => self.without_shim(prepared),
        }
    }

    /// A container whose shim is gone runs no more: its cgroup is emptied, and its end is a guess.
    fn without_shim(&self, prepared: &Prepared) -> Phase {
        match prepared.last_phase() {
            Phase::Running { started_at } => {
                // What is left of it would run unseen for ever.
                let _ = cgroup::remove(&self.cgroup_of(&prepared.spec));
                let exit = Exit { code: UNSEEN, signal: None, oom_killed: false, finished_at: self.world.clock.now() };
                let phase = Phase::Exited { started_at: Some(started_at), exit };
                prepared.save_phase(&phase);
                phase
            }
            phase => phase,
        }
    }

    fn cgroup_of(&self, spec: &ContainerSpec) -> PathBuf {
        self.pod_cgroup(&spec.sandbox).join(layout::name_of(&spec.id))
    }

    fn pod_cgroup(&self, sandbox: &SandboxSpec) -> PathBuf {
        Path::new("/").join(&self.cgroup_root).join(sandbox.cgroup.trim_start_matches('/'))
    }

    fn prepared(&self, id: &ContainerId) -> Result<Prepared, Error> {
        self.layout.pod(&id.pod_uid)?.container(id)?.ok_or_else(|| missing(id))
    }
}

fn missing(id: &ContainerId) -> Error {
    Error::NotFound(format!("container {id}"))
}

fn unexpected(reply: &Reply) -> Error {
    match reply {
        Reply::Failed(reason) => Error::System(reason.clone()),
        other => Error::System(format!("a pod's shim gave an answer that was not expected: {other:?}")),
    }
}

/// Runs what blocks (files, mounts, unpacking) beside the scheduler's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::System(error.to_string()))?
}

#[async_trait]
impl ContainerRuntime for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn version(&self) -> Result<String, Error> {
        Ok(format!("embedded://{}", env!("CARGO_PKG_VERSION")))
    }

    async fn pull(&self, reference: &str, auth: Option<&PullAuth>) -> Result<Image, Error> {
        let remote = Remote::open(reference, auth, &self.plain_http).await?;
        let _ingest = self.images.ingest();
        pull::take(&self.images, reference, remote).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        Ok(self.images.find(reference).map(|record| record.image()))
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.images.images().iter().map(super::images::store::Record::image).collect())
    }

    async fn import(&self, archive: &Path) -> Result<Vec<Image>, Error> {
        let (images, archive) = (Arc::clone(&self.images), archive.to_owned());
        blocking(move || Ok(images.import(&archive)?.iter().map(super::images::store::Record::image).collect())).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        let (images, reference, layout) = (Arc::clone(&self.images), reference.to_owned(), self.layout.clone());
        blocking(move || {
            let record = images.find(&reference).ok_or_else(|| Error::NotFound(format!("image {reference}")))?;
            // Its layers are what its containers run on.
            match layout.user_of(&record.id)? {
                Some(id) if record.references.len() <= 1 || reference == record.id => {
                    Err(Error::System(format!("image {reference} is in use by container {id}")))
                }
                _ => images.remove(&reference),
            }
        })
        .await
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<(), Error> {
        let pod = self.layout.pod(&spec.pod_uid)?;
        pod.create(spec)?;
        if client::Connection::open(&pod).await?.is_none() {
            self.zygote.spawn(&pod.directory).await?;
        }
        Ok(())
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), Error> {
        let pod = self.layout.pod(pod_uid)?;
        let sandbox = pod.sandbox()?;
        // The shim answers when every container has ended; or it was gone already.
        self.ask(pod_uid, &Request::Stop).await?;
        let cgroup = sandbox.map(|sandbox| self.pod_cgroup(&sandbox));
        blocking(move || {
            if let Some(cgroup) = cgroup {
                cgroup::remove(&cgroup)
                    .map_err(|error| Error::System(format!("cannot remove a pod's cgroup: {error}")))?;
            }
            pod.remove()
        })
        .await
    }

    async fn sandboxes(&self) -> Result<Vec<String>, Error> {
        self.layout.pods()
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        let record =
            self.images.find(&spec.image_id).ok_or_else(|| Error::NotFound(format!("image {}", spec.image_id)))?;
        let pod = self.layout.pod(&spec.id.pod_uid)?;
        if pod.container(&spec.id)?.is_some() {
            return Ok(());
        }
        let (layers, names) = self.images.layers(&record);
        let (spec, host, cgroup) = (spec.clone(), self.host.clone(), self.cgroup_of(spec));
        blocking(move || bundle::prepare(&pod, &spec, &record.config, (&layers, names), &cgroup, host)).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Error> {
        let prepared = self.prepared(id)?;
        let start = prepared.start_request()?;
        match self.ask(&id.pod_uid, &Request::Start(Box::new(start))).await? {
            Some(Reply::Done | Reply::Running(_)) => Ok(()),
            Some(Reply::Failed(reason)) => Err(Error::Start(reason)),
            Some(other) => Err(unexpected(&other)),
            None => Err(Error::System(format!("the shim of pod {} is gone", id.pod_uid))),
        }
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Error> {
        let container = self.prepared(id)?.name;
        match self.ask(&id.pod_uid, &Request::Signal { container, signal }).await? {
            Some(Reply::Done | Reply::Unknown) | None => Ok(()),
            Some(other) => Err(unexpected(&other)),
        }
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, Error> {
        let prepared = self.prepared(id)?;
        match self.ask(&id.pod_uid, &Request::Wait { container: prepared.name.clone() }).await? {
            Some(Reply::Exited(exit)) => Ok(exit),
            Some(Reply::Unknown) => Err(Error::Start(format!("container {id} was never started"))),
            Some(other) => Err(unexpected(&other)),
            None => match self.without_shim(&prepared) {
                Phase::Exited { exit, .. } => Ok(exit),
                _ => Err(Error::System(format!("the shim of pod {} is gone", id.pod_uid))),
            },
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let Some(prepared) = self.layout.pod(&id.pod_uid)?.container(id)? else { return Ok(()) };
        self.signal(id, nix::libc::SIGKILL).await?;
        let container = prepared.name.clone();
        // The end of the first process takes the others of its PID namespace with it.
        self.ask(&id.pod_uid, &Request::Wait { container: container.clone() }).await?;
        self.ask(&id.pod_uid, &Request::Forget { container }).await?;
        let cgroup = self.cgroup_of(&prepared.spec);
        blocking(move || {
            cgroup::remove(&cgroup)
                .map_err(|error| Error::System(format!("cannot remove a container's cgroup: {error}")))?;
            prepared.remove()
        })
        .await
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, Error> {
        let mut states = Vec::new();
        for uid in self.layout.pods()? {
            let known = self.phases(&uid).await?;
            for prepared in self.layout.pod(&uid)?.containers()? {
                states.push(ContainerState {
                    id: prepared.spec.id.clone(),
                    printed_id: format!("embedded://{}.{}", prepared.spec.id.pod_uid, prepared.name),
                    image_id: prepared.spec.image_id.clone(),
                    phase: self.phase(&prepared, known.as_ref()),
                    labels: prepared.spec.labels.clone(),
                });
            }
        }
        Ok(states)
    }

    async fn hold(&self, pod_uid: &str, within: Option<Duration>) -> Result<bool, Error> {
        let within_ms = within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        match self.ask(pod_uid, &Request::Hold { within_ms }).await? {
            Some(Reply::Done) | None => Ok(true),
            Some(other) => Err(unexpected(&other)),
        }
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, Error> {
        let prepared = self.prepared(id)?;
        let pod = self.layout.pod(&id.pod_uid)?;
        let connection = client::Connection::open(&pod).await?;
        let connection = connection.ok_or_else(|| Error::System(format!("the shim of pod {} is gone", id.pod_uid)))?;
        exec::start(connection, prepared.name, spec).await
    }
}
