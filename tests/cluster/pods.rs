//! Pods on the embedded runtime as kubectl and the machine see them, one area a test and one node a test.
//!
//! Rooms: `network` addresses, ports, what containers share; `streams` logs and exec; `values` environment, volumes,
//! cgroups; `life` restarts, probes, hooks, ends; `security` users and capabilities; `leftovers` what must not stay.

mod leftovers;
mod life;
mod network;
mod security;
mod streams;
mod values;

use super::node::{Node, PATIENCE};

/// One container of the built-in image: its name and what else stands in it (flow YAML, may be empty).
fn container(name: &str, rest: &str) -> String {
    let comma = if rest.is_empty() { "" } else { ", " };
    format!("{{name: {name}, image: \"shoal.local/toolbox:latest\", imagePullPolicy: IfNotPresent{comma}{rest}}}")
}

/// A pod that ends fast; `spec` is what else stands in its spec (block YAML, indented by two).
fn pod(name: &str, spec: &str, containers: &[String]) -> String {
    let grace =
        if spec.contains("terminationGracePeriodSeconds") { "" } else { "  terminationGracePeriodSeconds: 1\n" };
    let containers: String = containers.iter().map(|container| format!("  - {container}\n")).collect();
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}, tier: gold}}}}\n\
         spec:\n{grace}{spec}  containers:\n{containers}"
    )
}

/// A field of a pod, by jsonpath.
fn field(node: &Node, pod: &str, path: &str) -> String {
    node.kubectl(&["get", "pod", pod, &format!("-o=jsonpath={{{path}}}")])
}

/// Waits until a field of a pod is `wanted`.
fn becomes(node: &Node, pod: &str, path: &str, wanted: &str) {
    node.eventually(&["get", "pod", pod, &format!("-o=jsonpath={{{path}}}")], |found| found == wanted);
}

/// Waits until a pod is Ready.
fn ready(node: &Node, pod: &str) {
    becomes(node, pod, ".status.conditions[?(@.type=='Ready')].status", "True");
}

/// Runs a script in a pod's container; its output without the last line's end.
fn inside(node: &Node, pod: &str, container: &str, script: &str) -> String {
    let said = node.kubectl(&["exec", pod, "-c", container, "--", "sh", "-c", script]);
    said.trim_end().to_owned()
}

/// Waits until `found` gives `wanted`.
fn until<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, found: impl Fn() -> T) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let now = found();
        if now == *wanted {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {now:?} is not {wanted:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
