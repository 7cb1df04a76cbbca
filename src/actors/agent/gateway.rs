//! Logs and exec of this node's pods, for the API.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::parts::Parts;
use super::pod::perform::Site;
use super::spec;
use crate::api::gateway::{ContainerRef, LogOptions, NodeGateway};
use crate::kube::status::Status;
use crate::runtime::logs::{self, ReadOptions};
use crate::runtime::{ContainerId, Error, ExecSession, ExecSpec, Phase};

/// Lines and bytes of a log that stand in for a termination message (Kubernetes' limits).
const TAIL_LINES: u64 = 80;
/// See [`TAIL_LINES`].
const TAIL_BYTES: usize = 2048;

/// The gateway to the pods of this node.
#[derive(Clone)]
pub struct LocalGateway {
    parts: Parts,
}

impl LocalGateway {
    /// A gateway beside the agent that was given the same parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Attempts of the container that are here, in order, and which of them runs.
    async fn attempts(&self, container: &ContainerRef) -> Result<(Vec<u32>, Option<u32>), Status> {
        let states = self.parts.runtime.containers().await.map_err(|error| Status::internal(error.to_string()))?;
        let mine = |id: &ContainerId| id.pod_uid == container.pod_uid && id.container == container.container;
        let mut attempts = Vec::new();
        let mut running = None;
        for state in states.into_iter().filter(|state| mine(&state.id)) {
            attempts.push(state.id.attempt);
            if matches!(state.phase, Phase::Running { .. }) {
                running = Some(state.id.attempt);
            }
        }
        attempts.sort_unstable();
        Ok((attempts, running))
    }
}

#[async_trait]
impl NodeGateway for LocalGateway {
    async fn logs(
        &self,
        container: &ContainerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        let (attempts, _) = self.attempts(container).await?;
        let (name, pod) = (&container.container, &container.pod);
        let attempt = match (attempts.last(), options.previous) {
            (Some(newest), false) => Some(*newest),
            (Some(newest), true) => newest.checked_sub(1),
            (None, _) => None,
        };
        let attempt = attempt.ok_or_else(|| {
            Status::bad_request(if options.previous {
                format!("previous terminated container {name:?} in pod {pod:?} not found")
            } else {
                format!("container {name:?} in pod {pod:?} is waiting to start: ContainerCreating")
            })
        })?;
        let root = &self.parts.node.log_root;
        let directory = logs::pod_directory(root, &container.namespace, pod, &container.pod_uid);
        let path = logs::container_path(&directory, name, attempt);
        let read = ReadOptions {
            follow: options.follow,
            timestamps: options.timestamps,
            tail_lines: options.tail_lines,
            since: options.since,
            limit_bytes: options.limit_bytes,
        };
        match self.parts.logs.read(&path, &read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && options.previous => {
                Err(Status::bad_request(format!("previous terminated container {name:?} in pod {pod:?} not found")))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(futures::stream::empty().boxed()),
            other => other.map_err(|error| Status::internal(error.to_string())),
        }
    }

    async fn exec(&self, container: &ContainerRef, spec: &ExecSpec) -> Result<ExecSession, Status> {
        let (_, running) = self.attempts(container).await?;
        let missing = || Status::internal(format!("container not found ({:?})", container.container));
        let attempt = running.ok_or_else(missing)?;
        let id = ContainerId { pod_uid: container.pod_uid.clone(), container: container.container.clone(), attempt };
        self.parts.runtime.exec(&id, spec).await.map_err(|error| match error {
            Error::NotFound(_) => missing(),
            other => Status::internal(other.to_string()),
        })
    }
}

/// The end of a container's log, where it failed without a message of its own.
pub async fn tail(site: &Site, id: &ContainerId) -> String {
    let path = logs::container_path(&spec::log_directory(site), &id.container, id.attempt);
    let options = ReadOptions { tail_lines: Some(TAIL_LINES), ..ReadOptions::default() };
    let Ok(mut stream) = site.parts.logs.read(&path, &options) else { return String::new() };
    let mut out: Vec<u8> = Vec::new();
    while let Some(Ok(bytes)) = stream.next().await {
        out.extend_from_slice(&bytes);
        let surplus = out.len().saturating_sub(TAIL_BYTES);
        out.drain(..surplus);
    }
    String::from_utf8_lossy(&out).into_owned()
}
