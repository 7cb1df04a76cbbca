//! Pods: the one status that sums up phase, conditions and containers, as Kubernetes' printer computes it.

use serde_json::{Value, json};

use super::age::age;
use super::column::{AGE, Column, NAME, Shown};
use super::peek::{NONE, is_true, list, number, text, text_or};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Ready", "How many of the pod's containers are ready."),
    Column::text("Status", "The state of the pod, summed up over its containers."),
    Column::text("Restarts", "How often containers of the pod were restarted, and when one last was."),
    AGE,
    Column::text("IP", "The pod's address.").wide(),
    Column::text("Node", "The node that the pod is bound to.").wide(),
    Column::text("Nominated Node", "The node on which room is being made for the pod.").wide(),
    Column::text("Readiness Gates", "How many of the pod's further conditions for readiness hold.").wide(),
];

pub(super) fn cells(shown: Shown<'_>) -> Vec<Value> {
    let pod = shown.object;
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, age(Some(time), shown.now)),
        _ => summary.restarts.to_string(),
    };
    vec![
        shown.name().into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status(pod).into(),
        restarts.into(),
        shown.age().into(),
        text_or(pod, "/status/podIPs/0/ip", NONE).into(),
        text_or(pod, "/spec/nodeName", NONE).into(),
        text_or(pod, "/status/nominatedNodeName", NONE).into(),
        readiness_gates(pod).into(),
    ]
}

/// A pod that has run to its end says so, so that clients can leave it out.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let holding = gates.iter().filter(|gate| has_condition(pod, text(gate, "/conditionType"))).count();
    format!("{holding}/{}", gates.len())
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    let found = list(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind);
    found.is_some_and(|condition| text(condition, "/status") == "True")
}

/// What the containers of a pod add up to.
struct Summary<'v> {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<&'v str>,
}

impl<'v> Summary<'v> {
    fn of(pod: &'v Value) -> Self {
        let sidecars = list(pod, "/spec/initContainers").iter().filter(|container| is_sidecar(container)).count();
        let mut summary = Self {
            reason: resting_reason(pod),
            ready: 0,
            total: list(pod, "/spec/containers").len() + sidecars,
            restarts: 0,
            last_restart: None,
        };
        let sidecar_restarts = summary.count_init(pod);
        if let Some(sidecar_restarts) = sidecar_restarts {
            (summary.restarts, summary.last_restart) = sidecar_restarts;
            summary.count_containers(pod);
        }
        summary
    }

    /// Goes over the init containers up to the first that has not done its part. Gives the restarts of sidecars where
    /// the pod is past initialization, for then the restarts of the others no longer count.
    fn count_init(&mut self, pod: &'v Value) -> Option<(i64, Option<&'v str>)> {
        let specs = list(pod, "/spec/initContainers");
        let mut of_sidecars = (0, None);
        let mut is_initializing = false;
        for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            let is_sidecar =
                specs.iter().find(|spec| text(spec, "/name") == text(status, "/name")).is_some_and(is_sidecar);
            self.restarts += number(status, "/restartCount");
            self.last_restart = later(self.last_restart, finished_at(status));
            if is_sidecar {
                of_sidecars.0 += number(status, "/restartCount");
                of_sidecars.1 = later(of_sidecars.1, finished_at(status));
            }
            if is_sidecar && is_true(status, "/started") && !has_succeeded(status) {
                self.ready += usize::from(is_true(status, "/ready"));
            } else if !has_succeeded(status) {
                self.reason = format!("Init:{}", init_reason(status, index, specs.len()));
                is_initializing = true;
                break;
            }
        }
        (!is_initializing || has_condition(pod, "Initialized")).then_some(of_sidecars)
    }

    fn count_containers(&mut self, pod: &'v Value) {
        let (mut is_running, mut failure) = (false, None);
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.restarts += number(status, "/restartCount");
            self.last_restart = later(self.last_restart, finished_at(status));
            if !text(status, "/state/waiting/reason").is_empty() {
                text(status, "/state/waiting/reason").clone_into(&mut self.reason);
            } else if let Some(end) = status.pointer("/state/terminated") {
                self.reason = end_reason(end);
                if number(end, "/exitCode") != 0 {
                    failure = Some(self.reason.clone());
                }
            } else if is_true(status, "/ready") && status.pointer("/state/running").is_some() {
                is_running = true;
                self.ready += 1;
            }
        }
        if self.reason != "Completed" {
            return;
        }
        if is_running && has_condition(pod, "Ready") {
            "Running".clone_into(&mut self.reason);
        } else if let Some(failure) = failure {
            self.reason = failure;
        } else if is_running {
            "NotReady".clone_into(&mut self.reason);
        }
    }

    /// The status that is shown: deletion comes before all else.
    fn status(self, pod: &Value) -> String {
        let is_deleted = !text(pod, "/metadata/deletionTimestamp").is_empty();
        let has_ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if is_deleted && text(pod, "/status/reason") == "NodeLost" {
            "Unknown".to_owned()
        } else if is_deleted && !has_ended {
            "Terminating".to_owned()
        } else {
            self.reason
        }
    }
}

/// What is shown while no container says more.
fn resting_reason(pod: &Value) -> String {
    const GATED: &str = "SchedulingGated";
    let is_gated =
        |condition: &Value| text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == GATED;
    if list(pod, "/status/conditions").iter().any(is_gated) {
        return GATED.to_owned();
    }
    text_or(pod, "/status/reason", text(pod, "/status/phase")).to_owned()
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn has_succeeded(status: &Value) -> bool {
    status.pointer("/state/terminated").is_some_and(|end| number(end, "/exitCode") == 0)
}

fn finished_at(status: &Value) -> Option<&str> {
    status.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str)
}

/// The later of two RFC 3339 times; all of them are UTC in seconds, so that their text is ordered.
fn later<'v>(a: Option<&'v str>, b: Option<&'v str>) -> Option<&'v str> {
    a.max(b)
}

fn init_reason(status: &Value, index: usize, total: usize) -> String {
    if let Some(end) = status.pointer("/state/terminated") {
        return end_reason(end);
    }
    match text(status, "/state/waiting/reason") {
        "" | "PodInitializing" => format!("{index}/{total}"),
        reason => reason.to_owned(),
    }
}

fn end_reason(end: &Value) -> String {
    match (text(end, "/reason"), number(end, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(end, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
