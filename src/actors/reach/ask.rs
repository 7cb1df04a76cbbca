//! What is asked of a pod's node, and its no, as they travel: MessagePack with names, so that fields can be added.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::gateway::{ContainerRef, LogOptions};
use crate::kube::status::Status;
use crate::model::Timestamp;
use crate::runtime::ExecSpec;

/// A container, and what is wanted of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    node: String,
    namespace: String,
    pod: String,
    pod_uid: String,
    container: String,
    /// What is wanted.
    pub what: What,
}

/// What is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum What {
    /// Its output.
    Logs(Logs),
    /// Another process in it.
    Exec(Exec),
}

/// [`LogOptions`] as they travel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Logs {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<u64>,
    since: Option<Timestamp>,
    limit_bytes: Option<u64>,
}

/// [`ExecSpec`] as it travels.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    command: Vec<String>,
    tty: bool,
    stdin: bool,
}

/// A [`Status`] as it travels: what a client is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Denied {
    code: u16,
    message: String,
}

impl Ask {
    /// Asks `what` of `container`.
    pub fn new(container: &ContainerRef, what: What) -> Self {
        let ContainerRef { node, namespace, pod, pod_uid, container } = container.clone();
        Self { node, namespace, pod, pod_uid, container, what }
    }

    /// The container.
    pub fn container(&self) -> ContainerRef {
        ContainerRef {
            node: self.node.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            pod_uid: self.pod_uid.clone(),
            container: self.container.clone(),
        }
    }
}

impl From<&LogOptions> for Logs {
    fn from(options: &LogOptions) -> Self {
        let LogOptions { follow, previous, timestamps, tail_lines, since, limit_bytes } = options.clone();
        Self { follow, previous, timestamps, tail_lines, since, limit_bytes }
    }
}

impl From<&Logs> for LogOptions {
    fn from(options: &Logs) -> Self {
        let Logs { follow, previous, timestamps, tail_lines, since, limit_bytes } = options.clone();
        Self { follow, previous, timestamps, tail_lines, since, limit_bytes }
    }
}

impl From<&ExecSpec> for Exec {
    fn from(spec: &ExecSpec) -> Self {
        Self { command: spec.command.clone(), tty: spec.tty, stdin: spec.stdin }
    }
}

impl From<&Exec> for ExecSpec {
    fn from(spec: &Exec) -> Self {
        Self { command: spec.command.clone(), tty: spec.tty, stdin: spec.stdin }
    }
}

impl From<&Status> for Denied {
    fn from(status: &Status) -> Self {
        Self { code: status.code, message: status.message.clone() }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied.code {
            400 => Self::bad_request(denied.message),
            _ => Self::internal(denied.message),
        }
    }
}

/// Encodes.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, Status> {
    rmp_serde::to_vec_named(value).map(Bytes::from).map_err(|error| Status::internal(error.to_string()))
}

/// Decodes.
pub fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Status> {
    rmp_serde::from_slice(bytes).map_err(|error| Status::internal(format!("a node's message cannot be read: {error}")))
}
