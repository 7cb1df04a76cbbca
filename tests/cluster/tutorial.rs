//! What a beginner's tutorial does, with an unmodified kubectl, on both real runtimes.

use super::node::{Node, outcome, text, web};

#[test]
fn a_tutorial_works_on_the_embedded_runtime() {
    tutorial("embedded");
}

#[test]
fn a_tutorial_works_on_containerd() {
    let daemon = crate::runtime_contract::daemon::Containerd::start();
    let node = Node::start_with("containerd", &format!("containerd_socket = {:?}\n", daemon.socket()));
    walk(&node);
    drop(node);
    drop(daemon);
}

fn tutorial(runtime: &str) {
    walk(&Node::start(runtime));
}

fn walk(node: &Node) {
    node.apply(&web("hello", 1, "one"));
    node.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    scaling(node);
    rolling(node);
    looking(node);
    inside(node);
    node.kubectl(&["delete", "deployment", "hello", "--timeout=60s"]);
    node.eventually(&["get", "pods,replicasets", "-o", "name"], str::is_empty);
}

fn scaling(node: &Node) {
    node.kubectl(&["scale", "deployment", "hello", "--replicas=3"]);
    node.kubectl(&["wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/hello", "--timeout=90s"]);
    let pods = node.kubectl(&["get", "pods", "-l", "app=hello", "-o", "wide"]);
    assert_eq!(pods.matches("1/1").count(), 3, "{pods}");
    node.kubectl(&["scale", "deployment", "hello", "--replicas=1"]);
    node.eventually(&["get", "pods", "-o", "name"], |pods| pods.lines().count() == 1);
}

fn rolling(node: &Node) {
    let changed = node.data.path().join("changed.yaml");
    std::fs::write(&changed, web("hello", 1, "two")).expect("a manifest");
    let diff = node.command("kubectl", &["diff", "-f", text(&changed)]).output().expect("kubectl");
    let shown = String::from_utf8_lossy(&diff.stdout);
    assert_eq!(diff.status.code(), Some(1), "there are differences: {diff:?}");
    assert!(shown.contains("-        - one") && shown.contains("+        - two"), "{shown}");
    node.apply(&web("hello", 1, "two"));
    node.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    node.eventually(
        &["get", "deploy", "hello", "-o", "jsonpath={.spec.template.spec.containers[0].args[4]}"],
        |text| text == "two",
    );
    let history = node.kubectl(&["rollout", "history", "deployment/hello"]);
    assert!(history.contains("1 ") && history.contains("2 "), "{history}");
    node.kubectl(&["rollout", "undo", "deployment/hello"]);
    node.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    let text = node.kubectl(&["get", "deploy", "hello", "-o", "jsonpath={.spec.template.spec.containers[0].args[4]}"]);
    assert_eq!(text, "one");
    node.kubectl(&["wait", "--for=condition=Available", "deployment/hello", "--timeout=90s"]);
}

fn looking(node: &Node) {
    let pod = node.kubectl(&["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[0].metadata.name}"]);
    let described = node.kubectl(&["describe", "pod", &pod]);
    for part in ["Status:           Running", "Container started", "Successfully assigned default/"] {
        assert!(described.contains(part), "{part:?} is not in:\n{described}");
    }
    let explained = node.kubectl(&["explain", "deployment.spec.strategy.rollingUpdate.maxSurge"]);
    assert!(explained.contains("maximum number of pods that can be scheduled above"), "{explained}");
    let yaml = node.kubectl(&["get", "pod", &pod, "-o", "yaml"]);
    assert!(yaml.contains("phase: Running"), "{yaml}");
    assert!(node.kubectl(&["api-resources"]).contains("deployments"));
    assert!(node.kubectl(&["get", "all"]).contains("replicaset.apps/"));
    assert!(node.kubectl(&["get", "events"]).contains("ScalingReplicaSet"));
}

fn inside(node: &Node) {
    let out = node.kubectl(&["exec", "deploy/hello", "--", "sh", "-c", "echo from inside; exit 0"]);
    assert_eq!(out.trim(), "from inside");
    let failed =
        node.command("kubectl", &["exec", "deploy/hello", "--", "sh", "-c", "exit 7"]).output().expect("kubectl");
    assert_eq!(failed.status.code(), Some(7), "{:?}", outcome(&failed));
    let logs = node.kubectl(&["logs", "deploy/hello"]);
    assert!(logs.contains("8080"), "the server says where it listens: {logs:?}");
    let other = node.shoal(&["logs", "deployment/hello", "--tail", "1"]);
    assert!(!other.is_empty());
}
