//! What a container, a sandbox and an exec are asked with, and what they report.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::model::Timestamp;

/// One incarnation of one container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId {
    /// Uid of the pod.
    pub pod_uid: String,
    /// Name of the container in the pod.
    pub container: String,
    /// 0 for the first, one more for each restart.
    pub attempt: u32,
}

impl fmt::Display for ContainerId {
    /// The id as runtimes know it: at most 76 bytes, letters, digits, `-`, `.` (a pod uid without dashes is 32, a container's name at most 63; longer ones are hashed by the runtime).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.pod_uid, self.container, self.attempt)
    }
}

/// What the containers of a pod share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Uid of the pod.
    pub pod_uid: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Hostname inside; at most 63 bytes.
    pub hostname: String,
    /// Pinned namespaces; `None` means the node's own (`hostNetwork`, `hostIPC`).
    pub network_namespace: Option<PathBuf>,
    /// Pinned IPC namespace.
    pub ipc_namespace: Option<PathBuf>,
    /// Pinned UTS namespace.
    pub uts_namespace: Option<PathBuf>,
    /// Use the node's PID namespace (`hostPID`).
    pub host_pid: bool,
    /// The pod's cgroup, below the node's root for pods, e.g. `burstable/pod<uid>`.
    pub cgroup: String,
}

/// A container to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Which.
    pub id: ContainerId,
    /// The pod's sandbox.
    pub sandbox: SandboxSpec,
    /// Id of an image that is here (`sha256:...`).
    pub image_id: String,
    /// Replaces the image's entrypoint where not empty.
    pub command: Vec<String>,
    /// Replaces the image's cmd where not empty (or where `command` is set).
    pub args: Vec<String>,
    /// Added to the image's environment, in order.
    pub env: Vec<(String, String)>,
    /// Empty for the image's own.
    pub working_dir: String,
    /// Bind mounts, outermost first.
    pub mounts: Vec<Mount>,
    /// Limits and requests as cgroup values.
    pub resources: Resources,
    /// User, privileges, file system.
    pub security: Security,
    /// Whether the first process gets a terminal.
    pub tty: bool,
    /// File that output goes to, one line each in the CRI log format; made with its directory.
    pub log_path: PathBuf,
    /// Carried back by [`ContainerState`].
    pub labels: BTreeMap<String, String>,
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the node.
    pub source: PathBuf,
    /// In the container.
    pub destination: PathBuf,
    /// Read-only.
    pub read_only: bool,
    /// `private`, `rslave` or `rshared`.
    pub propagation: Propagation,
}

/// Mount propagation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `None` in Kubernetes.
    #[default]
    Private,
    /// `HostToContainer`.
    Slave,
    /// `Bidirectional`.
    Shared,
}

/// Cgroup values. Zero means: not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Requested CPU in thousandths of a core (weight).
    pub cpu_request_millis: u64,
    /// CPU limit in thousandths of a core (quota).
    pub cpu_limit_millis: u64,
    /// Memory limit in bytes.
    pub memory_limit_bytes: u64,
    /// `oom_score_adj`, -1000..=1000; applied only where it does not lower the inherited value.
    pub oom_score_adj: i32,
}

/// User, privileges and file system of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Numeric user; the image's where `None`.
    pub run_as_user: Option<u32>,
    /// Numeric group.
    pub run_as_group: Option<u32>,
    /// Refuse to run as user 0.
    pub run_as_non_root: bool,
    /// Further groups (`fsGroup` and `supplementalGroups`).
    pub supplemental_groups: Vec<u32>,
    /// Every capability, every device.
    pub privileged: bool,
    /// Read-only root file system.
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `NET_ADMIN`, ... or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Dropped capabilities.
    pub drop_capabilities: Vec<String>,
    /// Kernel parameters of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0..=255; 128 + signal where a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed it for its memory limit.
    pub oom_killed: bool,
    /// When.
    pub finished_at: Timestamp,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Made, not started.
    Created,
    /// Running.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Over.
    Exited {
        /// Since when it ran; `None` where it never did.
        started_at: Option<Timestamp>,
        /// How it ended.
        exit: Exit,
    },
}

/// A container as the runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Which.
    pub id: ContainerId,
    /// Id as `containerStatuses[].containerID` prints it, e.g. `embedded://<id>`.
    pub printed_id: String,
    /// Id of its image.
    pub image_id: String,
    /// Where it is.
    pub phase: Phase,
    /// As given at creation.
    pub labels: BTreeMap<String, String>,
}

/// Another process in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal (then stderr is in stdout).
    pub tty: bool,
    /// Whether it reads standard input.
    pub stdin: bool,
}

/// A running exec. Dropping it ends the process.
pub struct ExecSession {
    /// Standard input; `None` where not asked for. Dropping it is end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output (both outputs with a terminal).
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard error; `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Terminal sizes (columns, rows); `None` without a terminal.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// The exit code, once; dropped without a value where it could not be learned.
    pub exit: oneshot::Receiver<i32>,
}
