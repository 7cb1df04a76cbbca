//! Many pods come, and nothing of them stays: no process, mount, link, namespace, group, rule or directory.

use std::fs;
use std::process::Command;
use std::time::Instant;

use super::super::node::{Node, run, web};
use super::{container, field, pod, ready, until};

#[test]
fn a_deleted_pod_leaves_nothing_on_the_machine() {
    let node = Node::start("embedded");
    let port = super::super::node::free_port();
    let main = format!(
        "args: [http-echo], ports: [{{containerPort: 8080, hostPort: {port}}}], \
                        volumeMounts: [{{name: a, mountPath: /a}}, {{name: b, mountPath: /b}}]"
    );
    let volumes = "  volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {medium: Memory}}]\n";
    // The first pod starts what all pods share.
    node.apply(&pod("first", "", &[container("main", "args: [sleep]")]));
    ready(&node, "first");
    node.kubectl(&["delete", "pod", "first", "--timeout=60s"]);
    let before = marks(&node);
    node.apply(&pod("gone", volumes, &[container("main", &main)]));
    ready(&node, "gone");
    let uid = field(&node, "gone", ".metadata.uid");
    assert!(marks(&node).len() > before.len(), "the pod leaves marks while it is there");
    node.kubectl(&["delete", "pod", "gone", "--timeout=60s"]);
    until("what the pod left", &before, || marks(&node));
    assert!(!marks(&node).iter().any(|mark| mark.contains(&uid)));

    node.apply(&pod("forced", volumes, &[container("main", &main)]));
    ready(&node, "forced");
    node.kubectl(&["delete", "pod", "forced", "--force", "--grace-period=0"]);
    until("what the forced pod left", &before, || marks(&node));

    let once = format!("  restartPolicy: Never\n{volumes}");
    node.apply(&pod("finished", &once, &[container("main", &main.replace("[http-echo]", "[echo, done]"))]));
    super::becomes(&node, "finished", ".status.phase", "Succeeded");
    assert_eq!(node.kubectl(&["logs", "finished"]), "done\n", "its log stays as long as the pod does");
    node.kubectl(&["delete", "pod", "finished", "--timeout=60s"]);
    until("what the finished pod left", &before, || marks(&node));
}

#[test]
fn thirty_replicas_come_up_and_down_takes_all_of_them() {
    let mut node = Node::start("embedded");
    node.apply(&web("many", 30, "many"));
    let began = Instant::now();
    node.kubectl(&["rollout", "status", "deployment/many", "--timeout=90s"]);
    println!("30 replicas: {:.1} s", began.elapsed().as_secs_f64());
    let ips = node.kubectl(&["get", "pods", "-o=jsonpath={.items[*].status.podIP}"]);
    let distinct: std::collections::BTreeSet<&str> = ips.split(' ').collect();
    assert_eq!(distinct.len(), 30, "an address each: {ips}");
    node.kill_9();
    node.down();
    assert_eq!(on_machine(&node), Vec::<String>::new(), "nothing of the node is left");
}

/// Everything of the node: what the machine has of it, and the directories of pods.
fn marks(node: &Node) -> Vec<String> {
    let data = node.data.path().display().to_string();
    let below =
        ["node/pods", "node/logs", "node/runtime/scratch", "node/run/pods"].map(|path| format!("{data}/{path}"));
    let list = Command::new("find").args(below).args(["-mindepth", "1", "-path", "*-*-*"]).output().expect("find");
    let mut found = on_machine(node);
    found.extend(String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned));
    found.sort();
    found
}

/// What the machine has of the node: mounts, links, rules, control groups and so processes.
fn on_machine(node: &Node) -> Vec<String> {
    let data = node.data.path().display().to_string();
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let of_node = |line: &&str| line.contains(&data);
    found.extend(mounts.lines().filter(of_node).map(|line| line.split(' ').nth(4).unwrap_or_default().to_owned()));
    let links = run(Command::new("ip").args(["-o", "link", "show"]));
    let bridge = node.bridge();
    found.extend(links.lines().filter(|line| line.contains(bridge)).map(|line| link_name(line).to_owned()));
    let rules = Command::new("nft").args(["list", "table", "ip", &format!("shoal_{bridge}")]).output().expect("nft");
    found.extend(String::from_utf8_lossy(&rules.stdout).lines().map(str::to_owned));
    let groups = node.cgroup();
    let groups = groups.trim_end_matches('/');
    for hierarchy in ["memory", "cpu", "pids", "systemd", "unified", "freezer"] {
        let list = Command::new("find").args([&format!("/sys/fs/cgroup/{hierarchy}{groups}"), "-type", "d"]).output();
        found.extend(String::from_utf8_lossy(&list.expect("find").stdout).lines().map(str::to_owned));
    }
    found
}

fn link_name(line: &str) -> &str {
    line.split(": ").nth(1).unwrap_or_default()
}
