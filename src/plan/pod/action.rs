//! What a step asks for, what came of it, and what is told about it.

use std::net::IpAddr;
use std::time::Duration;

use super::observed::{Failure, Terminated};
use super::probe::ProbeKind;
use crate::model::Timestamp;

/// One thing to do for a pod. Doing it twice is safe. While one is in flight, `step` does not ask for it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the pod's directories, files and mounts.
    PrepareVolumes,
    /// Make the pod's namespaces and address.
    AttachNetwork,
    /// Make what the containers share.
    CreateSandbox,
    /// Have the image here, as `policy` says.
    EnsureImage {
        /// For this container.
        container: String,
        /// For this attempt.
        attempt: u32,
        /// As the pod spells it.
        image: String,
        /// When to fetch it.
        policy: PullPolicy,
    },
    /// Build the container's spec and make it.
    CreateContainer {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
        /// Image in the runtime.
        image_id: String,
    },
    /// Start a made container.
    StartContainer {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
    },
    /// Run a lifecycle hook.
    RunHook {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
        /// Which hook.
        hook: HookKind,
    },
    /// Run a probe once.
    Probe {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
        /// Which probe.
        kind: ProbeKind,
    },
    /// Note that a container's end begins. Done as soon as it has begun.
    BeginStop {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
        /// How long it may take.
        grace: Duration,
        /// For the event.
        message: String,
    },
    /// Note that the pod's end begins. Done as soon as it has begun.
    BeginEnd,
    /// Note that a container waits for its next try. Done as soon as it has begun.
    TellBackoff {
        /// Which.
        container: String,
        /// The attempt that waits.
        attempt: u32,
        /// Reason and message of the event are those of a pull where given.
        image: Option<String>,
    },
    /// Send a signal to a container's first process.
    Signal {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
        /// Signal number.
        signal: i32,
    },
    /// Remove a container that has ended.
    RemoveContainer {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
    },
    /// Remove the sandbox with every container in it.
    RemoveSandbox,
    /// Take the network away.
    DetachNetwork,
    /// Unmount and remove volumes and files.
    CleanVolumes,
    /// Report the last status, then delete the pod object.
    DeletePod,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time a container is made.
    Always,
    /// Where it is not here.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// A lifecycle hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// After the start.
    PostStart,
    /// Before the end.
    PreStop,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// `AttachNetwork`: the pod's addresses.
    Attached(Vec<IpAddr>),
    /// `EnsureImage`: the image.
    Image {
        /// Id in the runtime.
        id: String,
        /// As `imageID` prints it.
        printed: String,
        /// Bytes.
        size_bytes: u64,
        /// How long the pull took; `None` where it was here.
        pulled_in: Option<Duration>,
    },
    /// `CreateContainer`: as `containerID` prints it.
    Created {
        /// `runtime://id`.
        printed_id: String,
    },
    /// `Probe`: its result.
    Probed {
        /// Whether it passed.
        success: bool,
        /// What failed.
        message: String,
    },
    /// It could not be done.
    Failed(Failure),
}

/// Something to tell about the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Container that it is about; empty for the pod.
    pub container: String,
    /// `Normal` or `Warning`.
    pub warning: bool,
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// How a container ended, as the runtime reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which incarnation.
    pub attempt: u32,
    /// How.
    pub end: Terminated,
}

/// Until when nothing happens by itself: the earliest of what is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wake(pub Option<Timestamp>);

impl Wake {
    /// Takes `at` into account.
    pub fn at(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |known| known.min(at)));
    }
}

impl Action {
    /// Whether it is only a note in the memory of the pod.
    pub fn is_note(&self) -> bool {
        matches!(self, Self::BeginStop { .. } | Self::BeginEnd | Self::TellBackoff { .. })
    }

    /// Whether it makes something that the pod's end must take away: the end waits for it.
    pub fn builds(&self) -> bool {
        matches!(
            self,
            Self::PrepareVolumes
                | Self::AttachNetwork
                | Self::CreateSandbox
                | Self::CreateContainer { .. }
                | Self::StartContainer { .. }
        )
    }
}
