//! What is known of one pod on this node: the runtime's facts, the results of what was asked, and the counters of both.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::PodStatus;

use super::Action;
use super::backoff::Backoff;
use super::fenced::Fence;
use super::probe::{ProbeKind, ProbeTrack};
use crate::model::Timestamp;

/// Everything `step` decides from, besides the pod itself. Starts empty; `adopt` fills in what a restarted node finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Addresses of this node, the primary one first.
    pub node_ips: Vec<IpAddr>,
    /// Addresses of the pod, once attached; kept after it was detached.
    pub addresses: Vec<IpAddr>,
    /// The pod's directories, files and mounts.
    pub volumes: Part,
    /// The pod's namespaces and address.
    pub network: Part,
    /// What its containers share.
    pub sandbox: Part,
    /// Failures to take something away.
    pub removal: Backoff,
    /// By name, init containers as well.
    pub containers: BTreeMap<String, ContainerView>,
    /// Actions that have begun and not finished.
    pub in_flight: Vec<Action>,
    /// When this node took the pod.
    pub started_at: Option<Timestamp>,
    /// When the pod's end began.
    pub ending_since: Option<Timestamp>,
    /// The pod object is gone: nothing more can be reported.
    pub orphaned: bool,
    /// The pod object has been deleted by us.
    pub deleted: bool,
    /// What the node may do with its containers.
    pub fence: Fence,
    /// The status of the step before; transition times and terminal phases are kept from it.
    pub reported: Option<PodStatus>,
}

/// A part of a pod that is made before its containers and taken away after them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Part {
    /// Not there, as far as is known.
    #[default]
    Absent,
    /// There.
    Present,
    /// Could not be made.
    Failed {
        /// Why.
        message: String,
        /// How long to wait, and since when.
        backoff: Backoff,
    },
    /// Taken away for good.
    Gone,
}

/// One container of the pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerView {
    /// Attempt number that the first incarnation made here gets.
    pub first_attempt: u32,
    /// The newest incarnation.
    pub current: Option<Incarnation>,
    /// How the one before it ended.
    pub last: Option<Terminated>,
    /// The image for the next incarnation.
    pub image: Option<ImageUse>,
    /// Why the next incarnation could not be made.
    pub failure: Option<Failure>,
    /// Restarts of the container.
    pub backoff: Backoff,
    /// Failed pulls of its image, and failed attempts to make the container.
    pub image_backoff: Backoff,
    /// The attempt whose back-off an event has told of.
    pub backoff_told: Option<u32>,
    /// The postStart hook of the current incarnation.
    pub post_start: Hook,
    /// The end of the current incarnation.
    pub stop: Option<Stop>,
    /// An incarnation before the last one, whose remains can be removed.
    pub removable: Option<u32>,
    /// Probes of the current incarnation.
    pub probes: BTreeMap<ProbeKind, ProbeTrack>,
}

/// One incarnation of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnation {
    /// 0 for the first.
    pub attempt: u32,
    /// `containerID` as reported.
    pub printed_id: String,
    /// `imageID` as reported.
    pub image_id: String,
    /// Where it is.
    pub phase: Phase,
}

/// Where an incarnation is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Made, not started.
    Created,
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Over.
    Exited(Terminated),
}

/// How an incarnation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminated {
    /// `containerID` as reported.
    pub printed_id: String,
    /// `None` where it never ran.
    pub started_at: Option<Timestamp>,
    /// When.
    pub finished_at: Timestamp,
    /// Exit code.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// The termination message.
    pub message: String,
}

/// An image made ready for an incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// For this attempt.
    pub attempt: u32,
    /// Id in the runtime.
    pub id: String,
    /// As `imageID` prints it.
    pub printed: String,
}

/// Why something could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `ErrImagePull`, `CreateContainerConfigError`, ...
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// A lifecycle hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hook {
    /// Has not been run.
    #[default]
    Waiting,
    /// Has begun.
    Running,
    /// Has ended, one way or the other.
    Done,
    /// Has ended with a failure that ends the container.
    Failed,
}

/// The end of a running incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Since when.
    pub since: Timestamp,
    /// How long it may take, where the container ends by itself (the pod's own end has one deadline for all).
    pub grace: Duration,
    /// The preStop hook.
    pub pre_stop: Hook,
    /// When it was asked to end.
    pub asked_at: Option<Timestamp>,
    /// When it was made to end.
    pub killed_at: Option<Timestamp>,
}

impl Observed {
    /// The view of a container; an empty one where nothing is known.
    pub fn view(&self, name: &str) -> &ContainerView {
        static NOTHING: ContainerView = ContainerView::NOTHING;
        self.containers.get(name).unwrap_or(&NOTHING)
    }

    /// The view of a container, to change.
    pub fn view_mut(&mut self, name: &str) -> &mut ContainerView {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Whether any container runs.
    pub fn any_running(&self) -> bool {
        self.containers.values().any(ContainerView::is_running)
    }

    /// Whether nothing is left of the pod on the node.
    pub fn is_taken_away(&self) -> bool {
        let parts = [&self.sandbox, &self.network, &self.volumes];
        parts.into_iter().all(|part| *part == Part::Gone) && !self.any_running()
    }
}

impl ContainerView {
    const NOTHING: Self = Self {
        first_attempt: 0,
        current: None,
        last: None,
        image: None,
        failure: None,
        backoff: Backoff::NEW,
        image_backoff: Backoff::NEW,
        backoff_told: None,
        post_start: Hook::Waiting,
        stop: None,
        removable: None,
        probes: BTreeMap::new(),
    };

    /// Attempt number of the next incarnation.
    pub fn next_attempt(&self) -> u32 {
        self.current.as_ref().map_or(self.first_attempt, |current| current.attempt.saturating_add(1))
    }

    /// Since when it has been running.
    pub fn running_since(&self) -> Option<Timestamp> {
        match self.current.as_ref()?.phase {
            Phase::Running { since } => Some(since),
            Phase::Created | Phase::Exited(_) => None,
        }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.running_since().is_some()
    }

    /// How the newest incarnation ended, where it has.
    pub fn exited(&self) -> Option<&Terminated> {
        match &self.current.as_ref()?.phase {
            Phase::Exited(end) => Some(end),
            Phase::Created | Phase::Running { .. } => None,
        }
    }
}
