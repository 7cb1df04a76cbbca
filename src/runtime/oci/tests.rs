//! Specs that the builder makes of containers.

use super::*;
use crate::runtime::container::{Resources, Security};
use crate::runtime::{ContainerId, SandboxSpec};

fn container() -> ContainerSpec {
    ContainerSpec {
        id: ContainerId { pod_uid: "u".into(), container: "c".into(), attempt: 0 },
        sandbox: SandboxSpec {
            pod_uid: "u".into(),
            namespace: "default".into(),
            name: "p".into(),
            hostname: "host".into(),
            network_namespace: Some("/run/netns/u".into()),
            ipc_namespace: None,
            uts_namespace: None,
            host_pid: false,
            cgroup: "burstable/podu".into(),
        },
        image_id: "sha256:0".into(),
        command: vec![],
        args: vec![],
        env: vec![],
        working_dir: String::new(),
        mounts: vec![],
        resources: Resources::default(),
        security: Security::default(),
        tty: false,
        log_path: "/l".into(),
        labels: [].into(),
    }
}

fn image() -> ImageConfig {
    let strings = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    ImageConfig {
        env: strings(&["A=image", "PATH=/bin"]),
        entrypoint: strings(&["/entry"]),
        cmd: strings(&["cmd"]),
        ..ImageConfig::default()
    }
}

fn host() -> Host {
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"].map(str::to_owned).into();
    Host { capabilities, oom_score_adj: 0, cgroup_v2: false, devices: vec![] }
}

fn build(change: impl FnOnce(&mut ContainerSpec)) -> Value {
    let mut container = container();
    change(&mut container);
    spec(&container, &image(), &User::default(), "rootfs", "/shoal/x", &host()).unwrap()
}

fn check(change: impl FnOnce(&mut ContainerSpec), pointer: &str, expect: Value) {
    assert_eq!(build(change).pointer(pointer), Some(&expect), "{pointer}");
}

#[test]
fn command_and_args_replace_the_images_as_kubernetes_says() {
    check(|_| {}, "/process/args", json!(["/entry", "cmd"]));
    check(|c| c.args = vec!["x".into()], "/process/args", json!(["/entry", "x"]));
    check(|c| c.command = vec!["y".into()], "/process/args", json!(["y"]));
    let mut none = image();
    (none.entrypoint, none.cmd) = (None, None);
    let error = spec(&container(), &none, &User::default(), "r", "/c", &host()).unwrap_err();
    assert_eq!(error, Error::Create("no command specified".into()));
}

#[test]
fn the_environment_of_the_spec_wins_over_the_images() {
    check(
        |c| c.env = vec![("A".into(), "spec".into()), ("B".into(), "2".into())],
        "/process/env",
        json!(["PATH=/bin", "HOSTNAME=host", "A=spec", "B=2"]),
    );
}

#[test]
fn capabilities_stay_inside_what_the_node_has() {
    check(|_| {}, "/process/capabilities/bounding", json!(["CAP_CHOWN", "CAP_KILL"]));
    check(|c| c.security.drop_capabilities = vec!["ALL".into()], "/process/capabilities/effective", json!([]));
    let add = |c: &mut ContainerSpec| {
        c.security.drop_capabilities = vec!["ALL".into()];
        c.security.add_capabilities = vec!["NET_ADMIN".into(), "SYS_TIME".into()];
    };
    check(add, "/process/capabilities/bounding", json!(["CAP_NET_ADMIN"]));
    let all = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"]);
    check(|c| c.security.privileged = true, "/process/capabilities/permitted", all);
}

#[test]
fn limits_become_cgroup_values() {
    let resources = |cpu_request_millis, cpu_limit_millis, memory_limit_bytes| Resources {
        cpu_request_millis,
        cpu_limit_millis,
        memory_limit_bytes,
        oom_score_adj: 1000,
    };
    check(|_| {}, "/linux/resources/cpu", json!({ "shares": 2 }));
    let cpu = json!({ "shares": 256, "quota": 50_000, "period": 100_000 });
    check(|c| c.resources = resources(250, 500, 0), "/linux/resources/cpu", cpu);
    check(|c| c.resources = resources(0, 0, 1 << 20), "/linux/resources/memory", json!({ "limit": 1 << 20 }));
    check(|c| c.resources = resources(0, 0, 0), "/process/oomScoreAdj", json!(1000));
    let lowered = build(|c| c.resources.oom_score_adj = -998);
    assert_eq!(lowered.pointer("/process/oomScoreAdj"), None, "a lower score is left as inherited");
}

#[test]
fn namespaces_are_joined_where_they_are_pinned() {
    let expect = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "network", "path": "/run/netns/u" }]);
    check(|_| {}, "/linux/namespaces", expect);
    let host = |c: &mut ContainerSpec| (c.sandbox.host_pid, c.sandbox.network_namespace) = (true, None);
    check(host, "/linux/namespaces", json!([{ "type": "mount" }]));
}

#[test]
fn a_mount_of_the_spec_replaces_the_default_one() {
    let shm = Mount {
        source: "/pods/u/shm".into(),
        destination: "/dev/shm".into(),
        read_only: false,
        propagation: Propagation::Private,
    };
    let spec = build(|c| c.mounts = vec![shm]);
    let mounts = spec.pointer("/mounts").unwrap().as_array().unwrap();
    let shm: Vec<_> = mounts.iter().filter(|mount| mount["destination"] == "/dev/shm").collect();
    assert_eq!((shm.len(), &shm[0]["type"]), (1, &json!("bind")));
}

#[test]
fn users_are_found_in_the_image_by_the_rules_of_kubernetes() {
    let layers = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let etc = layers[1].path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("passwd"), "root:x:0:0::/:/bin/sh\nweb:x:101:102::/:/bin/sh\n").unwrap();
    std::fs::write(etc.join("group"), "web:x:102:\ndata:x:200:web,root\n").unwrap();
    let paths = layers.each_ref().map(|layer| layer.path().to_owned());
    let database = user::Database::read(&paths);
    let check = |image_user: &str, uid: Option<u32>, gid: Option<u32>, expect: (u32, u32, &[u32])| {
        let security = Security { run_as_user: uid, run_as_group: gid, ..Security::default() };
        let user = database.resolve(image_user, &security).unwrap();
        assert_eq!((user.uid, user.gid, user.additional_gids.as_slice()), expect, "{image_user} {uid:?} {gid:?}");
    };
    check("", None, None, (0, 0, &[0, 200]));
    check("web", None, None, (101, 102, &[102, 200]));
    check("web:data", None, None, (101, 200, &[200]));
    check("7:8", None, None, (7, 8, &[8]));
    check("web:data", Some(5), None, (5, 0, &[0]));
    check("web", Some(101), Some(9), (101, 9, &[9, 200]));
    assert!(database.resolve("nobody", &Security::default()).is_err());

    std::fs::create_dir(layers[0].path().join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", layers[0].path().join("etc/passwd")).unwrap();
    let hidden = user::Database::read(&paths);
    assert!(hidden.resolve("root", &Security::default()).is_err(), "links are not followed");
}
