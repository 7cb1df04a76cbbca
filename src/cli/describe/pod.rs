//! A pod for people.

use std::fmt::Write;

use serde_json::Value;

use super::line;
use crate::cli::client::resources::{items, text};

/// Where it is, and how its containers are.
pub fn describe(out: &mut String, pod: &Value) {
    let (spec, status) = (pod.get("spec").unwrap_or(&Value::Null), pod.get("status").unwrap_or(&Value::Null));
    line(out, "Node", &text(spec, "/nodeName"));
    line(out, "Status", &text(status, "/phase"));
    for (name, pointer) in [("Reason", "/reason"), ("Message", "/message")] {
        let value = text(status, pointer);
        if !value.is_empty() {
            line(out, name, &value);
        }
    }
    let addresses: Vec<String> = items(status, "podIPs").iter().map(|address| text(address, "/ip")).collect();
    line(out, "Addresses", &addresses.join(", "));
    line(out, "Restart policy", &text(spec, "/restartPolicy"));
    line(out, "QoS class", &text(status, "/qosClass"));
    let kinds = [
        ("Init containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ];
    for (title, key, statuses) in kinds {
        let containers = items(spec, key);
        if containers.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{title}:");
        for container in containers {
            let name = text(container, "/name");
            let status = items(status, statuses).iter().find(|status| text(status, "/name") == name);
            describe_container(out, container, status.unwrap_or(&Value::Null));
        }
    }
}

fn describe_container(out: &mut String, container: &Value, status: &Value) {
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "    {:<16}  {value}", format!("{name}:"));
        }
    };
    let words = |key: &str| {
        let words: Vec<&str> = items(container, key).iter().filter_map(Value::as_str).collect();
        words.join(" ")
    };
    let ports: Vec<String> = items(container, "ports").iter().map(port).collect();
    field("Container", text(container, "/name"));
    field("ID", text(status, "/containerID"));
    field("Image", text(container, "/image"));
    field("Command", words("command"));
    field("Args", words("args"));
    field("Ports", ports.join(", "));
    field("State", state(status.get("state")));
    field("Last state", state(status.get("lastState")));
    field("Ready", status.get("ready").map(ToString::to_string).unwrap_or_default());
    field("Restarts", status.get("restartCount").map(ToString::to_string).unwrap_or_default());
    for key in ["limits", "requests"] {
        let values = container.pointer(&format!("/resources/{key}")).and_then(Value::as_object);
        let values: Vec<String> = values
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        field(if key == "limits" { "Limits" } else { "Requests" }, values.join(", "));
    }
    let mounts: Vec<String> = items(container, "volumeMounts")
        .iter()
        .map(|mount| format!("{} from {}", text(mount, "/mountPath"), text(mount, "/name")))
        .collect();
    field("Mounts", mounts.join(", "));
    let _ = writeln!(out);
}

fn port(port: &Value) -> String {
    let number = |key: &str| port.get(key).and_then(Value::as_u64);
    let host = number("hostPort").map(|host| format!(" (node's {host})")).unwrap_or_default();
    format!("{}/{}{host}", number("containerPort").unwrap_or(0), text(port, "/protocol"))
}

/// `Running since ...`, `Waiting: CrashLoopBackOff (...)`, `Terminated: Error, exit code 1, ...`.
fn state(state: Option<&Value>) -> String {
    let Some((kind, detail)) = state.and_then(Value::as_object).and_then(|state| state.iter().next()) else {
        return String::new();
    };
    let (reason, message) = (text(detail, "/reason"), text(detail, "/message"));
    let message = if message.is_empty() { message } else { format!(" ({message})") };
    match kind.as_str() {
        "running" => format!("Running since {}", text(detail, "/startedAt")),
        "waiting" => format!("Waiting: {reason}{message}"),
        _ => {
            let code = detail.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
            format!("Terminated: {reason}{message}, exit code {code}, {}", text(detail, "/finishedAt"))
        }
    }
}
