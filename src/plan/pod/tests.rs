//! Lives of pods as scripts: what happens to a pod, and the whole trace of actions, events and status that must follow.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::observed::Terminated;
use super::{Action, Event, Failure, HookKind, Observed, Outcome, step};
use crate::model::Timestamp;

struct Life {
    pod: Pod,
    observed: Observed,
    now: Timestamp,
    failing: Vec<(String, Failure)>,
    hanging: Vec<String>,
    trace: Vec<String>,
    line: String,
}

/// Plays `script` (one command a line: `start`, `wait SECONDS`, `exit NAME CODE`, `fail ACTION REASON`, `hang ACTION`, `heal`,
/// `delete GRACE`) and compares the whole trace.
fn check(spec: Value, script: &str, expect: &str) {
    let pod = json!({ "metadata": { "name": "p", "namespace": "ns", "uid": "u", "generation": 1 }, "spec": spec });
    let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    let observed = Observed { started_at: Some(now), ..Observed::default() };
    let pod = serde_json::from_value(pod).unwrap();
    let mut life = Life { pod, observed, now, failing: vec![], hanging: vec![], trace: vec![], line: String::new() };
    for command in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        life.trace.push(format!("> {command}"));
        life.play(&command.split(' ').collect::<Vec<_>>());
        if !command.starts_with("fail") && !command.starts_with("hang") {
            life.settle();
        }
    }
    let expect: Vec<&str> = expect.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(life.trace, expect, "\n{}", life.trace.join("\n"));
}

impl Life {
    fn play(&mut self, words: &[&str]) {
        match words {
            ["wait", seconds] => {
                let end = self.now + std::time::Duration::from_secs(seconds.parse().unwrap());
                while let Some(at) = step(&self.pod, &self.observed, self.now).wake_at.filter(|at| *at <= end) {
                    self.now = at;
                    self.settle();
                }
                self.now = end;
            }
            ["exit", name, code] => {
                let attempt = self.observed.view(name).current.as_ref().unwrap().attempt;
                let reason = if *code == "0" { "Completed" } else { "Error" };
                let end = Terminated {
                    finished_at: self.now,
                    code: code.parse().unwrap(),
                    reason: reason.into(),
                    ..Terminated::default()
                };
                self.observed.exited(name, attempt, end);
            }
            ["fail", action, reason] => {
                let reason = Box::leak(reason.to_string().into_boxed_str());
                self.failing.push(((*action).to_owned(), Failure { reason, message: "why".to_owned() }));
            }
            ["hang", action @ ..] => self.hanging.push(action.join(" ")),
            ["start"] => {}
            ["heal"] => self.failing.clear(),
            ["delete", grace] => {
                self.pod.metadata.deletion_timestamp = Some(super::status::time(self.now));
                self.pod.metadata.deletion_grace_period_seconds = Some(grace.parse().unwrap());
            }
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            let step = step(&self.pod, &self.observed, self.now);
            self.observed.reported = Some(step.status);
            self.tell_status();
            if step.actions.is_empty() {
                return;
            }
            for action in step.actions {
                self.act(&action);
            }
        }
        panic!("never settles\n{}", self.trace.join("\n"));
    }

    fn act(&mut self, action: &Action) {
        let name = print(action);
        self.trace.push(name.clone());
        let events = self.observed.began(&self.pod, action, self.now);
        self.tell(events);
        if action.is_note() || self.hanging.iter().any(|one| name.starts_with(one)) {
            return;
        }
        let failure = self.failing.iter().find(|(one, _)| name.starts_with(one)).map(|(_, failure)| failure.clone());
        let outcome = match (failure, action) {
            (Some(_), Action::Probe { .. }) => Outcome::Probed { success: false, message: "why".into() },
            (Some(failure), _) => Outcome::Failed(failure),
            (None, Action::EnsureImage { .. }) => {
                Outcome::Image { id: "sha256:1".into(), printed: "img".into(), size_bytes: 1, pulled_in: None }
            }
            (None, Action::AttachNetwork) => Outcome::Attached(vec!["10.0.0.2".parse().unwrap()]),
            (None, Action::CreateContainer { .. }) => Outcome::Created { printed_id: "c".into() },
            (None, Action::Probe { .. }) => Outcome::Probed { success: true, message: String::new() },
            (None, _) => Outcome::Done,
        };
        let events = self.observed.finished(&self.pod, action, outcome, self.now);
        self.tell(events);
        if let Action::Signal { container, signal: 9, .. } = action {
            self.play(&["exit", container, "137"]);
        }
    }

    /// Routine events are left out of the trace.
    fn tell(&mut self, events: Vec<Event>) {
        for event in events.into_iter().filter(|event| !matches!(event.reason, "Pulled" | "Created" | "Started")) {
            self.trace.push(format!("  {}: {}", event.reason, event.message).trim().to_owned());
        }
    }

    fn tell_status(&mut self) {
        let status = self.observed.reported.clone().unwrap();
        let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        let states: Vec<String> = statuses
            .map(|one| {
                let state = one.state.clone().unwrap_or_default();
                let text = match (state.waiting, state.running, state.terminated) {
                    (Some(waiting), _, _) => waiting.reason.unwrap(),
                    (_, Some(_), _) if one.ready => "ready".into(),
                    (_, Some(_), _) => "running".into(),
                    (_, _, Some(end)) => format!("{}({})", end.reason.unwrap(), end.exit_code),
                    _ => "none".into(),
                };
                format!("{}#{}={text}", one.name, one.restart_count)
            })
            .collect();
        let ready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
        let line = format!("= {} {}{}", status.phase.unwrap(), states.join(" "), if ready { " READY" } else { "" });
        if line != self.line {
            self.trace.push(line.clone());
            self.line = line;
        }
    }
}

fn print(action: &Action) -> String {
    match action {
        Action::EnsureImage { container, attempt, .. } => format!("EnsureImage {container}#{attempt}"),
        Action::CreateContainer { container, attempt, .. } => format!("Create {container}#{attempt}"),
        Action::StartContainer { container, attempt } => format!("Start {container}#{attempt}"),
        Action::RunHook { container, hook: HookKind::PostStart, .. } => format!("PostStart {container}"),
        Action::RunHook { container, hook: HookKind::PreStop, .. } => format!("PreStop {container}"),
        Action::Probe { container, kind, .. } => format!("{} {container}", kind.title()),
        Action::BeginStop { container, grace, .. } => format!("Stop {container} within {}s", grace.as_secs()),
        Action::TellBackoff { container, attempt, .. } => format!("TellBackoff {container}#{attempt}"),
        Action::Signal { container, signal, .. } => format!("Signal {container} {signal}"),
        Action::RemoveContainer { container, attempt } => format!("Remove {container}#{attempt}"),
        other => format!("{other:?}"),
    }
}

fn one(container: Value, spec: Value) -> Value {
    let mut main = json!({ "name": "a", "image": "i:1" });
    main.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut pod = json!({ "containers": [main], "terminationGracePeriodSeconds": 30 });
    pod.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

#[test]
fn init_containers_run_in_order_and_sidecars_outlive_the_main_container() {
    let init = json!([
        { "name": "s", "image": "i:1", "restartPolicy": "Always" },
        { "name": "i", "image": "i:1" } ]);
    check(
        one(json!({}), json!({ "initContainers": init, "restartPolicy": "Never" })),
        "start
         exit i 0
         exit a 0
         exit s 0",
        "> start
         = Pending s#0=PodInitializing i#0=PodInitializing a#0=PodInitializing
         PrepareVolumes
         AttachNetwork
         EnsureImage s#0
         CreateSandbox
         Create s#0
         = Pending s#0=ContainerCreating i#0=PodInitializing a#0=PodInitializing
         Start s#0
         = Pending s#0=ready i#0=PodInitializing a#0=PodInitializing
         EnsureImage i#0
         Create i#0
         = Pending s#0=ready i#0=ContainerCreating a#0=PodInitializing
         Start i#0
         = Pending s#0=ready i#0=running a#0=PodInitializing
         > exit i 0
         = Pending s#0=ready i#0=Completed(0) a#0=PodInitializing
         EnsureImage a#0
         Create a#0
         = Pending s#0=ready i#0=Completed(0) a#0=ContainerCreating
         Start a#0
         = Running s#0=ready i#0=Completed(0) a#0=ready READY
         > exit a 0
         = Running s#0=ready i#0=Completed(0) a#0=Completed(0)
         BeginEnd
         Stop s within 30s
         Killing: Stopping container s
         Signal s 15
         > exit s 0
         = Succeeded s#0=Completed(0) i#0=Completed(0) a#0=Completed(0)
         DetachNetwork
         CleanVolumes",
    );
}

#[test]
fn a_crashing_container_is_restarted_at_once_and_then_less_and_less_often() {
    check(
        one(json!({}), json!({})),
        "start
         exit a 1
         exit a 1
         wait 9
         wait 1
         exit a 1
         wait 20
         wait 1201
         exit a 1",
        "> start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > exit a 1
         = Running a#0=Error(1)
         EnsureImage a#1
         Create a#1
         = Running a#1=ContainerCreating
         Start a#1
         = Running a#1=ready READY
         > exit a 1
         = Running a#1=CrashLoopBackOff
         TellBackoff a#2
         BackOff: Back-off restarting failed container a in pod p_ns(u)
         > wait 9
         > wait 1
         = Running a#1=Error(1)
         EnsureImage a#2
         Create a#2
         = Running a#2=ContainerCreating
         Start a#2
         = Running a#2=ready READY
         Remove a#0
         > exit a 1
         = Running a#2=CrashLoopBackOff
         TellBackoff a#3
         BackOff: Back-off restarting failed container a in pod p_ns(u)
         > wait 20
         = Running a#2=Error(1)
         EnsureImage a#3
         Create a#3
         = Running a#3=ContainerCreating
         Start a#3
         = Running a#3=ready READY
         Remove a#1
         > wait 1201
         > exit a 1
         = Running a#3=Error(1)
         EnsureImage a#4
         Create a#4
         = Running a#4=ContainerCreating
         Start a#4
         = Running a#4=ready READY
         Remove a#2",
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_tried_again_with_back_off() {
    check(
        one(json!({}), json!({})),
        "fail EnsureImage ErrImagePull
         start
         wait 10
         heal
         wait 20",
        "> fail EnsureImage ErrImagePull
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         Failed: why
         Failed: Error: ErrImagePull
         = Pending a#0=ErrImagePull
         CreateSandbox
         > wait 10
         TellBackoff a#0
         BackOff: Back-off pulling image \"i:1\"
         = Pending a#0=ImagePullBackOff
         EnsureImage a#0
         Failed: why
         Failed: Error: ErrImagePull
         = Pending a#0=ErrImagePull
         > heal
         > wait 20
         TellBackoff a#0
         BackOff: Back-off pulling image \"i:1\"
         = Pending a#0=ImagePullBackOff
         EnsureImage a#0
         = Pending a#0=ContainerCreating
         Create a#0
         Start a#0
         = Running a#0=ready READY",
    );
}

#[test]
fn a_deleted_pod_runs_its_hook_gets_its_grace_and_leaves_nothing() {
    let hook = json!({ "lifecycle": { "preStop": { "exec": { "command": ["x"] } } } });
    check(
        one(hook, json!({})),
        "hang PreStop
         start
         delete 5
         wait 5
         wait 2",
        "> hang PreStop
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > delete 5
         BeginEnd
         Stop a within 5s
         Killing: Stopping container a
         PreStop a
         > wait 5
         Signal a 15
         > wait 2
         Signal a 9
         = Failed a#0=Error(137)
         RemoveSandbox
         DetachNetwork
         CleanVolumes
         DeletePod",
    );
}

#[test]
fn probes_gate_each_other_and_liveness_ends_the_container_in_its_own_grace() {
    let probe = |period: u32, threshold: u32| {
        json!({ "tcpSocket": { "port": 1 }, "periodSeconds": period, "failureThreshold": threshold,
            "terminationGracePeriodSeconds": 3 })
    };
    let probes = json!({ "startupProbe": probe(1, 5), "livenessProbe": probe(2, 2), "readinessProbe": probe(2, 1) });
    check(
        one(probes, json!({})),
        "fail Liveness x
         start
         wait 2
         wait 3",
        "> fail Liveness x
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=running
         Startup a
         Liveness a
         Unhealthy: Liveness probe failed: why
         Readiness a
         = Running a#0=ready READY
         > wait 2
         Liveness a
         Unhealthy: Liveness probe failed: why
         Readiness a
         Stop a within 3s
         Killing: Container a failed liveness probe, will be restarted
         Signal a 15
         > wait 3
         Signal a 9
         = Running a#0=Error(137)
         EnsureImage a#1
         Create a#1
         = Running a#1=ContainerCreating
         Start a#1
         = Running a#1=running
         Startup a
         Liveness a
         Unhealthy: Liveness probe failed: why
         Readiness a
         = Running a#1=ready READY",
    );
}

#[test]
fn a_failed_post_start_hook_ends_the_container() {
    let hook = json!({ "lifecycle": { "postStart": { "exec": { "command": ["x"] } } } });
    check(
        one(hook, json!({ "restartPolicy": "Never" })),
        "fail PostStart x
         start
         exit a 143",
        "> fail PostStart x
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         PostStart a
         FailedPostStartHook: PostStartHook failed: why
         = Running a#0=running
         Stop a within 30s
         Killing: FailedPostStartHook
         Signal a 15
         > exit a 143
         = Failed a#0=Error(143)
         BeginEnd
         DetachNetwork
         CleanVolumes",
    );
}

#[test]
fn a_pod_past_its_deadline_fails() {
    check(
        one(json!({}), json!({ "activeDeadlineSeconds": 10 })),
        "start
         wait 10
         exit a 143",
        "> start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > wait 10
         BeginEnd
         Stop a within 30s
         Killing: Stopping container a
         Signal a 15
         > exit a 143
         = Failed a#0=Error(143)
         DetachNetwork
         CleanVolumes",
    );
}

#[test]
fn a_pod_that_is_deleted_while_a_container_is_made_waits_for_it() {
    check(
        one(json!({}), json!({})),
        "hang Create a
         start
         delete 30",
        "> hang Create a
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         > delete 30
         BeginEnd",
    );
}
