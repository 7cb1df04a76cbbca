//! Bad input gets a clear error and loses nothing.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::node::{Node, SHOAL, free_port, outcome, web};

#[test]
fn bad_manifests_are_refused_with_the_path_of_the_field() {
    let node = Node::start("hollow");
    let good = web("fine", 1, "x");
    let cases = [
        (good.replace("image:", "imagee:"), "spec.template.spec.containers[0].imagee"),
        (good.replace("replicas: 1", "replicas: many"), "spec.replicas"),
        (good.replace("name: fine", "name: Not_Fine"), "metadata.name"),
        (good.replace("matchLabels: {app: fine}", "matchLabels: {app: other}"), "spec.template.metadata.labels"),
        (
            good.replace("containerPort: 8080", "containerPort: 80800"),
            "spec.template.spec.containers[0].ports[0].containerPort",
        ),
        (good.replace("kind: Deployment", "kind: Deploymint"), "Deploymint"),
    ];
    for (manifest, path) in cases {
        let error = node.try_apply(&manifest).expect_err(path);
        assert!(error.contains(path), "{path:?} is not in: {error}");
    }
    let error = node.try_kubectl(&["create", "-f", "/nonexistent.yaml"]).expect_err("no file");
    assert!(error.contains("nonexistent"), "{error}");
    let file = node.data.path().join("bad.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n").expect("a file");
    let refused = node.command(SHOAL, &["apply", "-f", super::node::text(&file)]).output().expect("shoal runs");
    let said = outcome(&refused).expect_err("a duplicate key");
    assert!(said.contains("line 5") || said.contains(":5"), "the line is named: {said}");
    assert_eq!(node.kubectl(&["get", "deployments", "-o", "name"]), "");
}

#[test]
fn a_command_whose_reader_is_gone_ends_without_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = Command::new(SHOAL).arg("version").stdout(writer).output().expect("shoal runs");
    assert_eq!(ended.status.signal(), Some(nix::libc::SIGPIPE), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn failing_pods_say_why_the_way_kubernetes_does() {
    let node = Node::start("embedded");
    node.apply(&pod("no-image", "127.0.0.1:1/none:latest", "Always", "[sleep, forever]"));
    node.apply(&pod("bad-name", "UPPER/case:x:y", "Always", "[sleep, forever]"));
    node.apply(&pod("crash", "shoal.local/toolbox:latest", "IfNotPresent", "[crash, --code, \"3\"]"));
    node.apply(&pod("never", "shoal.local/absent:latest", "Never", "[sleep, forever]"));
    let reason = |name: &str, wanted: &'static str| {
        let path = "-o=jsonpath={.status.containerStatuses[0].state.waiting.reason}";
        node.eventually(&["get", "pod", name, path], |reason| reason == wanted);
    };
    reason("no-image", "ImagePullBackOff");
    reason("bad-name", "InvalidImageName");
    reason("crash", "CrashLoopBackOff");
    reason("never", "ErrImageNeverPull");
    let crashed = node.kubectl(&["describe", "pod", "crash"]);
    assert!(
        crashed.contains("Exit Code:    3") && crashed.contains("Back-off restarting failed container"),
        "{crashed}"
    );
    let previous = node.kubectl(&["logs", "crash", "--previous"]);
    assert!(!previous.is_empty(), "the last words of the incarnation before");
    assert!(node.kubectl(&["describe", "pod", "no-image"]).contains("Failed to pull image"));
}

#[test]
fn a_node_that_cannot_start_says_what_to_do() {
    let node = Node::start("hollow");
    let listen = format!("127.0.0.1:{}", node.port);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let taken = up(&[&"--listen", &listen.as_str(), &"--data", &super::node::text(elsewhere.path())]);
    assert!(taken.contains("in use"), "{taken}");

    let own = node.data.path().join("node");
    let other = format!("127.0.0.1:{}", free_port());
    let twice = up(&[&"--listen", &other.as_str(), &"--data", &super::node::text(&own)]);
    assert!(twice.contains("another") || twice.contains("running"), "{twice}");

    let unknown = elsewhere.path().join("unknown.toml");
    std::fs::write(&unknown, "[network]\nbrige = \"x\"\n").expect("a file");
    let refused = up(&[&"--config", &super::node::text(&unknown), &"--data", &super::node::text(elsewhere.path())]);
    assert!(refused.contains("brige") && refused.contains("bridge"), "the key and a suggestion: {refused}");
}

fn up(args: &[&&str]) -> String {
    let mut command = Command::new(SHOAL);
    command.args(["up", "--runtime", "hollow"]).args(args.iter().map(|arg| **arg));
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("shoal starts");
    for _ in 0..100 {
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    let _ = child.kill();
    outcome(&child.wait_with_output().expect("output")).expect_err("it must refuse")
}

fn pod(name: &str, image: &str, policy: &str, args: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: main, image: \"{image}\", imagePullPolicy: {policy}, args: {args}}}
"
    )
}
