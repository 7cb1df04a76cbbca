//! Ending the process, gently or with -9, touches no container; the next start adopts them and has every object.

use super::node::{Node, run, web};

#[test]
fn a_killed_node_keeps_its_containers_and_every_acknowledged_object() {
    let mut node = Node::start("embedded");
    node.apply(&web("kept", 2, "kept"));
    node.kubectl(&["rollout", "status", "deployment/kept", "--timeout=90s"]);
    for i in 0..20 {
        node.kubectl(&["create", "configmap", &format!("acknowledged-{i}"), "--from-literal=k=v"]);
    }
    let before = running(&node);
    let processes = container_processes(&node);
    assert!(!processes.is_empty(), "the pods have processes");

    node.kill_9();
    assert_eq!(container_processes(&node), processes, "containers run on without the node");
    node.launch();

    assert_eq!(running(&node), before, "same pods, same containers, no restart");
    assert_eq!(container_processes(&node), processes, "nothing was started again");
    let maps = node.kubectl(&["get", "configmaps", "-o", "name"]);
    assert_eq!(maps.matches("acknowledged-").count(), 20, "{maps}");

    node.terminate();
    node.launch();
    assert_eq!(running(&node), before, "a gentle stop leaves containers, too");
    node.kubectl(&["delete", "deployment", "kept"]);
    node.eventually(&["get", "pods", "-o", "name"], str::is_empty);
    assert!(container_processes(&node).is_empty(), "no container without a pod");
}

#[test]
fn a_container_that_ended_while_the_node_was_down_is_seen_and_restarted() {
    let mut node = Node::start("embedded");
    node.apply(&web("lost", 1, "lost"));
    node.kubectl(&["rollout", "status", "deployment/lost", "--timeout=90s"]);
    let processes = container_processes(&node);
    node.kill_9();
    for pid in &processes {
        run(std::process::Command::new("kill").args(["-9", pid]));
    }
    node.launch();
    let restarts = "-o=jsonpath={.items[0].status.containerStatuses[0].restartCount}";
    node.eventually(&["get", "pods", "-l", "app=lost", restarts], |count| count == "1");
    let last = "-o=jsonpath={.items[0].status.containerStatuses[0].lastState.terminated.exitCode}";
    assert_eq!(node.kubectl(&["get", "pods", "-l", "app=lost", last]), "137");
}

/// Name, container id and restart count of each pod.
fn running(node: &Node) -> String {
    let what = "-o=jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} \
                {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    node.kubectl(&["get", "pods", what])
}

/// Process ids of the echo servers in this node's pods, found by the text that only they have.
fn container_processes(node: &Node) -> Vec<String> {
    let text = node.cgroup();
    let mut found: Vec<String> = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cgroup")).is_ok_and(|text_of| contains(&text_of, text.as_bytes()))
        })
        .filter(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| contains(&line, b"http-echo")))
        .collect();
    found.sort();
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
