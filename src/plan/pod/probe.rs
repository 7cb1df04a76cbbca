//! Probes as counters: when the next one is due and what the results so far mean.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};

use crate::model::Timestamp;

/// How soon a container that was not up yet at its first probe is asked again; the time doubles until the next probe is
/// due. A program takes some milliseconds to listen, and its pod must not wait for a whole period because of them.
const EARLY: Duration = Duration::from_millis(20);

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
    /// When the last regular run began.
    pub last_run: Option<Timestamp>,
    /// Early runs since then; their failures count for nothing.
    pub early: u32,
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
    pub fn due(&self, kind: ProbeKind, probe: &Probe, since: Timestamp) -> Timestamp {
        match self.last_run {
            None => since + seconds(probe.initial_delay_seconds, 0),
            Some(last) if self.is_coming_up(kind, probe) => last + self.next_early().min(period(probe)),
            Some(last) => last + period(probe),
        }
    }

    /// Whether the first run has failed and none has passed: an answer over the network may be milliseconds away.
    fn is_coming_up(&self, kind: ProbeKind, probe: &Probe) -> bool {
        let fresh = self.failures == 1 && self.successes == 0 && self.verdict != Some(true);
        fresh && kind != ProbeKind::Liveness && probe.exec.is_none()
    }

    /// Time from the last regular run to the next early one.
    fn next_early(&self) -> Duration {
        EARLY.saturating_mul(2_u32.saturating_pow(self.early.saturating_add(1)).saturating_sub(1))
    }

    /// A run begins.
    pub fn begin(&mut self, probe: &Probe, now: Timestamp) {
        if self.last_run.is_some_and(|last| now < last + period(probe)) {
            self.early = self.early.saturating_add(1);
        } else {
            (self.last_run, self.early) = (Some(now), 0);
        }
    }

    /// Counts a result; false where it counts for nothing.
    pub fn record(&mut self, probe: &Probe, success: bool) -> bool {
        if !success && self.early > 0 {
            return false;
        }
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
        true
    }
}

/// How long one run may take.
pub fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

fn period(probe: &Probe) -> Duration {
    seconds(probe.period_seconds, 10).max(Duration::from_secs(1))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begin times, in milliseconds after the start, of the first `runs` failing runs.
    fn begins(kind: ProbeKind, probe: &serde_json::Value, runs: usize) -> Vec<i64> {
        let probe: Probe = serde_json::from_value(probe.clone()).unwrap();
        let start = Timestamp(0);
        let (mut track, mut found) = (ProbeTrack::default(), Vec::new());
        for _ in 0..runs {
            let due = track.due(kind, &probe, start);
            track.begin(&probe, due);
            track.record(&probe, false);
            found.push(due.0 / 1000);
        }
        found
    }

    #[test]
    fn only_the_first_period_of_what_comes_up_is_probed_early_and_without_counting() {
        let http = serde_json::json!({ "httpGet": { "port": 80 }, "periodSeconds": 1, "failureThreshold": 2 });
        let exec = serde_json::json!({ "exec": { "command": ["x"] }, "periodSeconds": 1 });
        let early = [0, 20, 60, 140, 300, 620, 1000, 2000, 3000];
        assert_eq!(begins(ProbeKind::Readiness, &http, 9), early);
        assert_eq!(begins(ProbeKind::Startup, &http, 9), early);
        assert_eq!(begins(ProbeKind::Liveness, &http, 3), [0, 1000, 2000]);
        assert_eq!(begins(ProbeKind::Readiness, &exec, 3), [0, 1000, 2000]);

        let probe: Probe = serde_json::from_value(http).unwrap();
        let mut track = ProbeTrack::default();
        for (at_ms, counts) in [(0, true), (20, false), (60, false), (1000, true)] {
            assert_eq!(track.verdict, None, "before {at_ms}");
            track.begin(&probe, Timestamp(at_ms * 1000));
            assert_eq!(track.record(&probe, false), counts, "at {at_ms}");
        }
        assert_eq!(track.verdict, Some(false));
    }
}
