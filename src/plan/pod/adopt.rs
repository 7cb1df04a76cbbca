//! What a restarted node finds of a pod: the runtime's containers, and what the API last reported.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::containers;
use super::observed::{ContainerView, Hook, Incarnation, Observed, Part, Phase, Terminated};
use super::probe::{ProbeKind, ProbeTrack};
use crate::model::Timestamp;

/// Exit code of a container that was lost (kubelet reports the same).
const LOST: i32 = 137;

/// One container as the runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name in the pod.
    pub name: String,
    /// What it is.
    pub incarnation: Incarnation,
}

/// Builds what is known of `pod` from the runtime's containers of it.
pub fn adopt(pod: &Pod, found: Vec<Found>, sandbox: bool, now: Timestamp) -> Observed {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let mut observed = Observed {
        started_at: Some(started.map_or(now, |time| Timestamp::from(time.0))),
        sandbox: if sandbox { Part::Present } else { Part::Absent },
        addresses: addresses(pod),
        ..Observed::default()
    };
    for one in found {
        observed.view_mut(&one.name).take(one.incarnation);
    }
    let slots: Vec<_> = containers::slots(pod).collect();
    for slot in slots {
        let reported = reported(pod, slot.name());
        let view = observed.view_mut(slot.name());
        match (&view.current, reported) {
            (None, Some(reported)) => view.lose(reported, now),
            (Some(_), reported) => view.resume(reported),
            (None, None) => {}
        }
    }
    observed
}

fn addresses(pod: &Pod) -> Vec<std::net::IpAddr> {
    let ips = pod.status.as_ref().and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect()
}

fn reported<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    status.container_statuses.iter().chain(&status.init_container_statuses).flatten().find(|one| one.name == name)
}

impl ContainerView {
    /// Takes one incarnation in: the newest is current, the one before it is the last.
    fn take(&mut self, one: Incarnation) {
        let newest = self.current.as_ref().is_none_or(|current| one.attempt > current.attempt);
        let older = if newest { self.current.replace(one) } else { Some(one) };
        let Some(older) = older else { return };
        if let Phase::Exited(end) = older.phase {
            let later = self.last.as_ref().is_none_or(|last| end.finished_at >= last.finished_at);
            if later {
                self.last = Some(end);
            }
        }
    }

    /// A container of this view was reported to have run, and the runtime does not know it.
    fn lose(&mut self, reported: &ContainerStatus, now: Timestamp) {
        let Some(id) = reported.container_id.clone().filter(|id| !id.is_empty()) else { return };
        let attempt = u32::try_from(reported.restart_count).unwrap_or(0);
        let ended = reported.state.as_ref().and_then(|state| state.terminated.as_ref());
        let end = match ended {
            Some(ended) => Terminated {
                printed_id: id.clone(),
                started_at: ended.started_at.as_ref().map(|time| Timestamp::from(time.0)),
                finished_at: ended.finished_at.as_ref().map_or(now, |time| Timestamp::from(time.0)),
                code: ended.exit_code,
                signal: ended.signal,
                reason: ended.reason.clone().unwrap_or_default(),
                message: ended.message.clone().unwrap_or_default(),
            },
            None => Terminated {
                printed_id: id.clone(),
                finished_at: now,
                code: LOST,
                reason: "ContainerStatusUnknown".to_owned(),
                message: "The container could not be located when the pod was terminated".to_owned(),
                ..Terminated::default()
            },
        };
        let image_id = reported.image_id.clone();
        self.current = Some(Incarnation { attempt, printed_id: id, image_id, phase: Phase::Exited(end) });
    }

    /// A container that still is here: its hook has run, and its probes go on from what was reported.
    fn resume(&mut self, reported: Option<&ContainerStatus>) {
        let Some(reported) = reported else { return };
        self.post_start = Hook::Done;
        if reported.started == Some(true) {
            self.resume_probe(ProbeKind::Startup);
        }
        if reported.ready {
            self.resume_probe(ProbeKind::Readiness);
        }
        if let Some(current) = self.current.as_mut().filter(|current| current.image_id.is_empty()) {
            current.image_id.clone_from(&reported.image_id);
        }
    }

    fn resume_probe(&mut self, kind: ProbeKind) {
        self.probes.insert(kind, ProbeTrack { verdict: Some(true), ..ProbeTrack::default() });
    }
}
