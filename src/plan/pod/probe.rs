//! Probes as counters: when the next one is due and what the results so far mean.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};

use crate::model::Timestamp;

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether the container has started; the others wait for it.
    Startup,
    /// Whether it must be restarted.
    Liveness,
    /// Whether it gets traffic.
    Readiness,
}

/// Results of one probe of one incarnation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeTrack {
    /// When the last run began.
    pub last_run: Option<Timestamp>,
    /// Successes in a row.
    pub successes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// What the results mean; `None` before either threshold was reached.
    pub verdict: Option<bool>,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The container's probe of this kind.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// As events spell it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

impl ProbeTrack {
    /// When the next run is due, for a container running since `since`.
    pub fn due(&self, probe: &Probe, since: Timestamp) -> Timestamp {
        match self.last_run {
            None => since + seconds(probe.initial_delay_seconds, 0),
            Some(last) => last + seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
        }
    }

    /// Counts a result.
    pub fn record(&mut self, probe: &Probe, success: bool) {
        let reached = |count: u32, threshold: Option<i32>, default: u32| {
            count >= threshold.and_then(|n| u32::try_from(n).ok()).unwrap_or(default).max(1)
        };
        if success {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
            if reached(self.successes, probe.success_threshold, 1) {
                self.verdict = Some(true);
            }
        } else {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
            if reached(self.failures, probe.failure_threshold, 3) {
                self.verdict = Some(false);
            }
        }
    }
}

/// How long one run may take.
pub fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}
