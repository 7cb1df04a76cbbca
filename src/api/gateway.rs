//! The door to the node that has a pod: logs and exec. Implemented by the agent (and, across nodes, by the mesh).

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::kube::status::Status;
use crate::model::Timestamp;
use crate::runtime::{ExecSession, ExecSpec};

/// What `GET .../log` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Keep the stream open and send what comes.
    pub follow: bool,
    /// The log of the incarnation before this one.
    pub previous: bool,
    /// Prefix every line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines at or after this time.
    pub since: Option<Timestamp>,
    /// Only this many bytes.
    pub limit_bytes: Option<u64>,
}

/// A pod's container, as a request names it (names are checked by the API before the call).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef {
    /// Node that the pod is bound to.
    pub node: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
}

/// Reaches pods where they run.
#[async_trait]
pub trait NodeGateway: Send + Sync + 'static {
    /// The container's output.
    async fn logs(
        &self,
        container: &ContainerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status>;

    /// Another process in the container.
    async fn exec(&self, container: &ContainerRef, spec: &ExecSpec) -> Result<ExecSession, Status>;
}
