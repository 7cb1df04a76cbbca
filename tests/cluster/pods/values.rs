//! Environment, volumes and control groups of containers.

use std::fs;

use super::super::node::{Node, text};
use super::{container, field, inside, pod, ready, until};

const SOURCES: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {color: blue, file.txt: \"first\\n\"}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {password: hunter2, token: t0k}
";

const ENV: &str = "
  - name: main
    image: shoal.local/toolbox:latest
    args: [sleep, forever]
    resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
    envFrom:
    - {configMapRef: {name: cm}, prefix: CM_}
    - {secretRef: {name: sec}}
    - {configMapRef: {name: missing, optional: true}}
    env:
    - {name: PLAIN, value: v}
    - {name: EXPANDED, value: <$(PLAIN)> $$(PLAIN)}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: cm, key: color}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: sec, key: password}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['tier']\"}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: MEM, valueFrom: {resourceFieldRef: {resource: requests.memory}}}
";

#[test]
fn environment_comes_from_values_maps_secrets_and_the_pod_itself() {
    let node = Node::start("embedded");
    node.apply(SOURCES);
    node.apply(&pod("env", "", &[]).replace("  containers:\n", &format!("  containers:{ENV}")));
    node.apply(&pod("lacks", "", &[container("main", "args: [sleep], envFrom: [{configMapRef: {name: later}}]")]));
    ready(&node, "env");
    let ip = field(&node, "env", ".status.podIP");
    let env = inside(&node, "env", "main", "env");
    let address = format!("IP={ip}");
    let wanted = [
        "CM_color=blue",
        "password=hunter2",
        "token=t0k",
        "PLAIN=v",
        "EXPANDED=<v> $(PLAIN)",
        "COLOR=blue",
        "PASSWORD=hunter2",
        "POD=env",
        address.as_str(),
        "NODE=node-a",
        "TIER=gold",
        "CPU=500",
        "MEM=33554432",
        "HOSTNAME=env",
        "KUBERNETES_SERVICE_PORT=443",
    ];
    for line in wanted {
        assert!(env.lines().any(|known| known == line), "{line:?} is not in:\n{env}");
    }
    super::becomes(&node, "lacks", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError");
    node.kubectl(&["create", "configmap", "later", "--from-literal=k=came"]);
    ready(&node, "lacks");
    assert_eq!(inside(&node, "lacks", "main", "echo $k"), "came");
}

const VOLUMES: &str = "  securityContext: {fsGroup: 2000}
  initContainers:
  - name: first
    image: shoal.local/toolbox:latest
    command: [sh, -c, \"echo by-init > /scratch/a; mkdir /scratch/sub; echo in-sub > /scratch/sub/b\"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  - name: second
    image: shoal.local/toolbox:latest
    command: [sh, -c, \"cat /scratch/a && echo second >> /scratch/a\"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  - {name: host, hostPath: {path: HOST, type: DirectoryOrCreate}}
  - {name: cm, configMap: {name: cm, items: [{key: file.txt, path: file.txt}, {key: color, path: deep/color, mode: 0400}]}}
  - {name: sec, secret: {secretName: sec, defaultMode: 0440}}
  - name: all
    projected:
      sources:
      - {configMap: {name: cm, items: [{key: color, path: color}]}}
      - {secret: {name: sec, items: [{key: token, path: token}]}}
      - {downwardAPI: {items: [{path: tier, fieldRef: {fieldPath: \"metadata.labels['tier']\"}}]}}
  - {name: down, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
";

const MOUNTS: &str = "args: [sleep], env: [{name: WHICH, value: sub}], volumeMounts: [
    {name: scratch, mountPath: /scratch}, {name: scratch, mountPath: /sub, subPath: sub, readOnly: true},
    {name: scratch, mountPath: /expr, subPathExpr: $(WHICH)}, {name: memory, mountPath: /memory},
    {name: host, mountPath: /host}, {name: cm, mountPath: /cm}, {name: cm, mountPath: /one/it, subPath: file.txt},
    {name: sec, mountPath: /sec, readOnly: true}, {name: all, mountPath: /all}, {name: down, mountPath: /down}]";

#[test]
fn volumes_of_every_kind_hold_what_they_should_and_follow_their_source() {
    let node = Node::start("embedded");
    let host = node.data.path().join("host");
    node.apply(SOURCES);
    let spec = VOLUMES.replace("HOST", text(&host));
    let beside = container("beside", "args: [sleep], volumeMounts: [{name: scratch, mountPath: /shared}]");
    node.apply(&pod("vol", &spec, &[container("main", MOUNTS), beside]));
    ready(&node, "vol");
    let main = |script: &str| inside(&node, "vol", "main", script);
    assert_eq!(main("cat /scratch/a"), "by-init\nsecond", "init containers run one after the other");
    assert_eq!(inside(&node, "vol", "beside", "cat /shared/a"), "by-init\nsecond", "a volume is the pod's");
    assert_eq!(main("cat /sub/b; cat /expr/b"), "in-sub\nin-sub");
    assert_eq!(main("touch /sub/x 2>/dev/null || echo refused"), "refused");
    assert_eq!(main("cat /cm/file.txt /one/it /cm/deep/color /all/color /all/token"), "first\nfirst\nbluebluet0k");
    assert_eq!(main("cat /sec/password /all/tier /down/name"), "hunter2goldvol");
    assert_eq!(main("touch /sec/x 2>/dev/null || echo refused"), "refused");
    assert!(main("mount").lines().any(|line| line.contains("/memory") && line.contains("tmpfs")));
    assert_eq!(main("echo out > /host/made; ls /host"), "made");
    assert_eq!(fs::read_to_string(host.join("made")).expect("the container's file"), "out\n");

    node.kubectl(&["patch", "configmap", "cm", "-p", "{\"data\":{\"file.txt\":\"second\\n\"}}"]);
    until("the mounted file", &"second".to_owned(), || main("cat /cm/file.txt"));
    assert_eq!(main("cat /one/it"), "first", "a subPath stays as it was");
    node.kubectl(&["label", "pod", "vol", "tier=silver", "--overwrite"]);
    until("the pod's label", &"silver".to_owned(), || main("cat /all/tier"));
}

#[test]
fn resources_are_cgroup_values() {
    let node = Node::start("embedded");
    let limits = "args: [sleep], resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}";
    let same = "args: [sleep], resources: {limits: {cpu: \"1\", memory: 16Mi}}";
    node.apply(&pod("burst", "", &[container("main", limits)]));
    node.apply(&pod("sure", "", &[container("main", same)]));
    node.apply(&pod("best", "", &[container("main", "args: [sleep]")]));
    for (name, class, shares, quota, memory) in [
        ("burst", "Burstable", "256", "50000", "67108864"),
        ("sure", "Guaranteed", "1024", "100000", "16777216"),
        ("best", "BestEffort", "2", "-1", ""),
    ] {
        ready(&node, name);
        assert_eq!(field(&node, name, ".status.qosClass"), class);
        let uid = field(&node, name, ".metadata.uid");
        assert_eq!(value(&node, "cpu", &uid, "cpu.shares"), shares, "{name}");
        assert_eq!(value(&node, "cpu", &uid, "cpu.cfs_quota_us"), quota, "{name}");
        let limit = value(&node, "memory", &uid, "memory.limit_in_bytes");
        assert!(if memory.is_empty() { limit.len() > 15 } else { limit == memory }, "{name}: {limit}");
    }
}

/// What the first container's cgroup says, wherever its pod's class has put it (first hierarchy).
fn value(node: &Node, controller: &str, uid: &str, file: &str) -> String {
    let root = format!("/sys/fs/cgroup/{controller}{}", node.cgroup());
    let find = super::super::node::run(std::process::Command::new("find").args([
        root.as_str(),
        "-path",
        &format!("*{uid}*/{file}"),
    ]));
    let path = find.lines().max_by_key(|path| path.len()).unwrap_or_else(|| panic!("no {file} of {uid}"));
    fs::read_to_string(path).expect("a value").trim().to_owned()
}
