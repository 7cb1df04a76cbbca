//! Users, capabilities and file systems of containers.

use super::super::node::Node;
use super::{becomes, container, field, inside, pod, ready};

#[test]
fn containers_run_as_who_they_are_told_with_what_they_are_given() {
    let node = Node::start("embedded");
    let strict = "args: [sleep], securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, \
                  capabilities: {drop: [ALL]}}";
    let containers = [
        container("strict", strict),
        container(
            "caps",
            "args: [sleep], securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [NET_ADMIN]}}",
        ),
        container("plain", "args: [sleep], securityContext: {runAsUser: 0}"),
        container("free", "args: [sleep], securityContext: {runAsUser: 0, privileged: true}"),
    ];
    let user = "  securityContext: {runAsUser: 1000, runAsGroup: 3000, supplementalGroups: [4000]}\n";
    node.apply(&pod("who", user, &containers));
    node.apply(&pod("refused", "", &[container("main", "args: [sleep], securityContext: {runAsNonRoot: true}")]));
    ready(&node, "who");
    let status = |container: &str, key: &str| {
        let line = inside(&node, "who", container, &format!("grep {key}: /proc/self/status"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(status("strict", "Uid"), "1000 1000 1000 1000");
    assert_eq!(status("strict", "Gid"), "3000 3000 3000 3000");
    assert!(status("strict", "Groups").contains("4000"));
    assert_eq!(status("strict", "CapEff"), "0000000000000000");
    assert_eq!(status("strict", "NoNewPrivs"), "1");
    assert_eq!(inside(&node, "who", "strict", "touch /x 2>/dev/null || echo refused"), "refused");
    assert_eq!(inside(&node, "who", "plain", "touch /x && echo made"), "made");
    assert_eq!(status("caps", "CapEff"), "0000000000001000");
    assert_eq!(status("plain", "CapEff"), "00000000a80425fb");
    let all = std::fs::read_to_string("/proc/self/status").expect("a status");
    let bounding = all.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a bounding set").trim().to_owned();
    assert_eq!(status("free", "CapEff"), bounding, "as much as the node has");
    assert!(
        inside(&node, "who", "free", "ls /dev").lines().count()
            > inside(&node, "who", "plain", "ls /dev").lines().count()
    );

    becomes(&node, "refused", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError");
    let message = field(&node, "refused", ".status.containerStatuses[0].state.waiting.message");
    assert!(message.contains("container has runAsNonRoot and image will run as root"), "{message}");
}
