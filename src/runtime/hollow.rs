//! A runtime that only pretends: for scale and for the simulator.
//!
//! [`Machine`] is the pretended machine: its images, containers, logs and pod network. It is shared by `Arc`, so a node
//! that "restarts" finds what it left. Nothing runs in the background: a container's end is a moment that is known when
//! it starts (`behaviour.rs` reads it from the spec) or when a signal arrives, and every answer is computed from it and
//! the clock, which the simulator moves. `machine.rs` holds the state, `logs.rs` the output, `network.rs` the
//! addresses, `routes.rs` the ways to other nodes' pods, `exec.rs` the pretended processes; this file is the [`ContainerRuntime`].

pub mod behaviour;
mod exec;
mod images;
mod logs;
pub mod machine;
mod network;
mod routes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    ContainerId, ContainerRuntime, ContainerSpec, ContainerState, Error, ExecSession, ExecSpec, Exit, Image, Phase,
    PullAuth, SandboxSpec,
};
pub use logs::MemoryLogs;
pub use machine::{Machine, MachineOptions};
pub use network::HollowNetwork;
pub use routes::HollowRoutes;

/// The [`ContainerRuntime`] over a [`Machine`].
pub struct Hollow {
    machine: Arc<Machine>,
}

impl Hollow {
    /// A runtime on `machine`, which outlives it.
    pub fn new(machine: Arc<Machine>) -> Arc<Self> {
        Arc::new(Self { machine })
    }

    async fn delay(&self, range: (Duration, Duration)) {
        let delay = self.machine.draw(range);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

#[async_trait]
impl ContainerRuntime for Hollow {
    fn name(&self) -> &'static str {
        "hollow"
    }

    async fn version(&self) -> Result<String, Error> {
        Ok(format!("hollow://{}", env!("CARGO_PKG_VERSION")))
    }

    async fn pull(&self, reference: &str, auth: Option<&PullAuth>) -> Result<Image, Error> {
        self.delay(self.machine.options.pull_latency).await;
        images::pull(&self.machine, reference, auth)
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        Ok(images::find(&self.machine, reference))
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.machine.state.lock().images.values().cloned().collect())
    }

    async fn import(&self, archive: &Path) -> Result<Vec<Image>, Error> {
        let name = archive.file_stem().and_then(|stem| stem.to_str()).unwrap_or("imported");
        Ok(vec![images::put(&self.machine, &images::normalize(name)?)])
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        images::remove(&self.machine, reference)
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<(), Error> {
        self.machine.state.lock().sandboxes.entry(spec.pod_uid.clone()).or_insert_with(|| spec.clone());
        Ok(())
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), Error> {
        let gone = {
            let mut state = self.machine.state.lock();
            state.sandboxes.remove(pod_uid);
            let ids: Vec<_> = state.containers.keys().filter(|id| id.pod_uid == pod_uid).cloned().collect();
            ids.iter().filter_map(|id| state.containers.remove(id)).collect::<Vec<_>>()
        };
        gone.iter().for_each(machine::Container::wake);
        Ok(())
    }

    async fn sandboxes(&self) -> Result<Vec<String>, Error> {
        Ok(self.machine.state.lock().sandboxes.keys().cloned().collect())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        self.delay(self.machine.options.create_latency).await;
        self.machine.create(spec)
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Error> {
        let latency = self.machine.start_latency(id)?;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.machine.start(id)
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Error> {
        self.machine.signal(id, signal)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, Error> {
        loop {
            let changed = self.machine.changes(id)?;
            let changed = changed.notified();
            match self.machine.phase(id)? {
                (Phase::Exited { exit, .. }, _) => return Ok(exit),
                (_, Some(end)) => tokio::select! {
                    () = tokio::time::sleep(end.since(self.machine.now())) => {}
                    () = changed => {}
                },
                (_, None) => changed.await,
            }
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let removed = self.machine.state.lock().containers.remove(id);
        if let Some(container) = removed {
            container.wake();
        }
        Ok(())
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, Error> {
        Ok(self.machine.containers())
    }

    async fn hold(&self, pod_uid: &str, within: Option<Duration>) -> Result<bool, Error> {
        self.machine.hold(pod_uid, within);
        Ok(true)
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, Error> {
        match self.machine.phase(id)?.0 {
            Phase::Running { .. } => Ok(exec::pretend(spec)),
            _ => Err(Error::Start(format!("container {id} is not running"))),
        }
    }
}

#[cfg(test)]
mod tests;
