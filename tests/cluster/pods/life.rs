//! Restarts, probes, hooks and ends of containers.

use std::fs;
use std::time::Instant;

use super::super::node::{Node, text};
use super::{becomes, container, field, pod, ready};

const STATE: &str = ".status.containerStatuses[0].state";
const LAST: &str = ".status.containerStatuses[0].lastState.terminated";
const RESTARTS: &str = ".status.containerStatuses[0].restartCount";

#[test]
fn containers_end_and_come_back_as_their_policy_says() {
    let node = Node::start("embedded");
    let (never, failure) = ("  restartPolicy: Never\n", "  restartPolicy: OnFailure\n");
    let words = "command: [sh, -c, \"echo done; echo last words > /dev/termination-log\"]";
    let hungry = "args: [mem, \"200\"], resources: {limits: {memory: 32Mi}}";
    node.apply(&pod("never", never, &[container("main", "args: [crash, --code, \"5\"]")]));
    node.apply(&pod("succeeds", failure, &[container("main", words)]));
    node.apply(&pod("fails", failure, &[container("main", "args: [crash, --code, \"4\"]")]));
    node.apply(&pod("always", "", &[container("main", "command: [\"true\"]")]));
    node.apply(&pod("hungry", never, &[container("main", hungry)]));
    node.apply(&pod("short", "  activeDeadlineSeconds: 2\n", &[container("main", "args: [sleep]")]));
    let init = "  restartPolicy: Never\n  initContainers:\n  - {name: first, image: \"shoal.local/toolbox:latest\", args: [crash]}\n";
    node.apply(&pod("uninit", init, &[container("main", "args: [sleep]")]));

    becomes(&node, "never", ".status.phase", "Failed");
    assert_eq!(field(&node, "never", &format!("{STATE}.terminated.exitCode")), "5");
    assert_eq!(field(&node, "never", &format!("{STATE}.terminated.reason")), "Error");
    becomes(&node, "succeeds", ".status.phase", "Succeeded");
    assert_eq!(field(&node, "succeeds", &format!("{STATE}.terminated.reason")), "Completed");
    assert_eq!(field(&node, "succeeds", &format!("{STATE}.terminated.message")), "last words\n");
    becomes(&node, "hungry", &format!("{STATE}.terminated.reason"), "OOMKilled");
    assert_eq!(field(&node, "hungry", &format!("{STATE}.terminated.exitCode")), "137");
    becomes(&node, "uninit", ".status.phase", "Failed");
    assert_eq!(field(&node, "uninit", ".status.initContainerStatuses[0].state.terminated.exitCode"), "1");
    becomes(&node, "short", ".status.reason", "DeadlineExceeded");
    assert_eq!(field(&node, "short", ".status.phase"), "Failed");

    for (name, code) in [("fails", "4"), ("always", "0")] {
        becomes(&node, name, &format!("{STATE}.waiting.reason"), "CrashLoopBackOff");
        assert_eq!(field(&node, name, &format!("{LAST}.exitCode")), code);
        assert_eq!(field(&node, name, ".status.phase"), "Running");
    }
    let table = node.kubectl(&["get", "pods", "--no-headers"]);
    for (name, status) in
        [("never", "Error"), ("succeeds", "Completed"), ("hungry", "OOMKilled"), ("uninit", "Init:Error")]
    {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line.contains(status), "{name} is not {status}:\n{table}");
    }
}

#[test]
fn probes_hold_back_kill_and_let_through() {
    let node = Node::start("embedded");
    let exec = |file: &str| format!("exec: {{command: [cat, {file}]}}, periodSeconds: 1");
    let (alive, up) = (exec("/tmp/alive"), exec("/tmp/up"));
    let live = format!(
        "command: [sh, -c, \"mkdir -p /tmp; touch /tmp/alive; sleep 4; rm /tmp/alive; sleep\"], \
         livenessProbe: {{{alive}, failureThreshold: 2, initialDelaySeconds: 1}}"
    );
    let slow = format!(
        "command: [sh, -c, \"mkdir -p /tmp; sleep 4; touch /tmp/up; sleep\"], startupProbe: {{{up}, failureThreshold: 30}}, \
         livenessProbe: {{{up}, failureThreshold: 1}}, readinessProbe: {{{up}}}"
    );
    let tcp = "args: [tcp-echo, --port, \"7000\"], readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}";
    let never = "args: [http-echo], readinessProbe: {httpGet: {path: /, port: 8081}, periodSeconds: 1}";
    node.apply(&pod("live", "", &[container("main", &live)]));
    node.apply(&pod("slow", "", &[container("main", &slow)]));
    node.apply(&pod("tcp", "", &[container("main", tcp)]));
    node.apply(&pod("never", "", &[container("main", never)]));
    ready(&node, "tcp");
    becomes(&node, "slow", ".status.containerStatuses[0].started", "false");
    ready(&node, "slow");
    assert_eq!(field(&node, "slow", RESTARTS), "0", "liveness waits for the startup probe");
    becomes(&node, "live", RESTARTS, "1");
    let told = node.kubectl(&["describe", "pod", "live"]);
    assert!(told.contains("Liveness probe failed") && told.contains("will be restarted"), "{told}");
    assert_eq!(field(&node, "never", ".status.conditions[?(@.type=='Ready')].status"), "False");
    let told = node.kubectl(&["describe", "pod", "never"]);
    assert!(told.contains("Readiness probe failed") && told.contains("connection refused"), "{told}");
}

#[test]
fn hooks_run_and_an_end_is_polite_first_and_certain_then() {
    let node = Node::start("embedded");
    let host = node.data.path().join("hooks");
    let volumes =
        format!("  volumes: [{{name: host, hostPath: {{path: {}, type: DirectoryOrCreate}}}}]\n", text(&host));
    let hooks = "args: [signals], volumeMounts: [{name: host, mountPath: /h}], lifecycle: {\
                 postStart: {exec: {command: [sh, -c, \"echo started > /h/post\"]}}, \
                 preStop: {exec: {command: [sh, -c, \"echo stopping > /h/pre\"]}}}";
    node.apply(&pod("hooks", &format!("  terminationGracePeriodSeconds: 5\n{volumes}"), &[container("main", hooks)]));
    node.apply(&pod(
        "stubborn",
        "  terminationGracePeriodSeconds: 3\n",
        &[container("main", "args: [signals, --linger, forever]")],
    ));
    node.apply(&pod(
        "bad-hook",
        "",
        &[container("main", "args: [sleep], lifecycle: {postStart: {exec: {command: [\"false\"]}}}")],
    ));
    ready(&node, "hooks");
    ready(&node, "stubborn");
    assert_eq!(fs::read_to_string(host.join("post")).expect("the hook's file"), "started\n");
    node.eventually(&["describe", "pod", "bad-hook"], |told| told.contains("FailedPostStartHook"));

    let mut follow = node.command("kubectl", &["logs", "-f", "stubborn"]);
    let follow = follow.stdout(std::process::Stdio::piped()).spawn().expect("kubectl");
    let began = Instant::now();
    node.kubectl(&["delete", "pod", "stubborn", "--timeout=60s"]);
    let took = began.elapsed().as_secs_f64();
    assert!((2.5..20.0).contains(&took), "killed when its time was over: {took}");
    let said = String::from_utf8_lossy(&follow.wait_with_output().expect("kubectl").stdout).into_owned();
    assert!(said.contains("got SIGTERM"), "asked first: {said}");

    let began = Instant::now();
    node.kubectl(&["delete", "pod", "hooks", "--timeout=60s"]);
    assert!(began.elapsed().as_secs_f64() < 5.0, "who obeys is not waited for");
    assert_eq!(fs::read_to_string(host.join("pre")).expect("the hook's file"), "stopping\n");
}
