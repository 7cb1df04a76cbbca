//! Plays a script on a pod and writes down the whole trace.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::model::Timestamp;
use crate::plan::fencing::Verdict;
use crate::plan::pod::observed::Terminated;
use crate::plan::pod::{Action, Event, Failure, HookKind, Observed, Outcome, step};

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
/// `delete GRACE`, `gone`, `fence run|hold|stop`) and compares the whole trace.
pub fn check(spec: Value, script: &str, expect: &str) {
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
            ["fence", verdict] => {
                let verdict = match *verdict {
                    "stop" => Verdict::Stop,
                    "hold" => Verdict::Hold,
                    _ => Verdict::Run,
                };
                self.observed.fence(verdict, self.now);
            }
            ["gone"] => self.observed.orphaned = true,
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
                self.pod.metadata.deletion_timestamp = Some(crate::plan::pod::status::time(self.now));
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
