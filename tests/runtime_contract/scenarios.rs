//! The contract, a behaviour a function.

use std::time::Duration;

use futures::StreamExt as _;
use shoal::runtime::container::{Mount, Propagation, Resources, Security};
use shoal::runtime::images::toolbox;
use shoal::runtime::logs::{LogFiles, LogSource as _, ReadOptions};
use shoal::runtime::{ContainerId, ContainerSpec, Error, ExecSession, ExecSpec, Exit, Phase, PullAuth, SandboxSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::registry::{PASSWORD, Registry, USER};
use super::{Bed, image};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs every scenario, one after the other, in one pod each.
pub async fn all(mut bed: Bed) {
    images_are_found_by_name_and_id(&bed).await;
    exit_codes_and_signals_are_told(&bed).await;
    what_cannot_start_says_why(&bed).await;
    a_restarted_runtime_adopts(&mut bed).await;
    removal_is_complete_and_can_be_repeated(&bed).await;
    if bed.real {
        output_is_logged(&bed).await;
        the_process_is_as_the_spec_says(&bed).await;
        mounts_and_read_only_roots_hold(&bed).await;
        memory_limits_kill(&bed).await;
        other_processes_run_beside_it(&bed).await;
        terminals_are_terminals(&bed).await;
        registries_are_pulled_from(&bed).await;
        the_toolbox_is_packed_from_the_binary(&bed).await;
    }
}

fn sandbox(uid: &str) -> SandboxSpec {
    SandboxSpec {
        pod_uid: uid.into(),
        namespace: "default".into(),
        name: uid.into(),
        hostname: uid.into(),
        network_namespace: None,
        ipc_namespace: None,
        uts_namespace: None,
        host_pid: false,
        cgroup: format!("burstable/pod{uid}"),
    }
}

/// A container of the pod `uid` that runs `script` in a shell.
fn shell(bed: &Bed, uid: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        id: ContainerId { pod_uid: uid.into(), container: "main".into(), attempt: 0 },
        sandbox: sandbox(uid),
        image_id: bed.image.id.clone(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        args: vec![],
        env: vec![],
        working_dir: String::new(),
        mounts: vec![],
        resources: Resources::default(),
        security: Security::default(),
        tty: false,
        log_path: bed.path(&format!("logs/{uid}/main/0.log")),
        labels: [("app".to_owned(), uid.to_owned())].into(),
    }
}

async fn started(bed: &Bed, spec: &ContainerSpec) {
    bed.runtime.create_sandbox(&spec.sandbox).await.unwrap();
    bed.runtime.create(spec).await.unwrap();
    bed.runtime.start(&spec.id).await.unwrap();
}

async fn waited(bed: &Bed, spec: &ContainerSpec) -> Exit {
    tokio::time::timeout(PATIENCE, bed.runtime.wait(&spec.id)).await.expect("the container does not end").unwrap()
}

async fn log(spec: &ContainerSpec) -> String {
    let chunks: Vec<_> = LogFiles.read(&spec.log_path, &ReadOptions::default()).unwrap().collect().await;
    chunks.into_iter().map(|chunk| String::from_utf8_lossy(&chunk.unwrap()).into_owned()).collect()
}

/// Runs to the end in a pod of its own, and gives what it printed.
async fn output(bed: &Bed, spec: &ContainerSpec) -> (Exit, String) {
    started(bed, spec).await;
    let exit = waited(bed, spec).await;
    let text = log(spec).await;
    bed.runtime.remove_sandbox(&spec.id.pod_uid).await.unwrap();
    (exit, text)
}

async fn phase(bed: &Bed, id: &ContainerId) -> Option<Phase> {
    let containers = bed.runtime.containers().await.unwrap();
    containers.into_iter().find(|container| container.id == *id).map(|container| container.phase)
}

async fn images_are_found_by_name_and_id(bed: &Bed) {
    let by_name = bed.runtime.image("test.local/busybox:1").await.unwrap().unwrap();
    let by_id = bed.runtime.image(&bed.image.id).await.unwrap().unwrap();
    assert_eq!((&by_name, by_name.references.len()), (&by_id, 1));
    assert_eq!(bed.runtime.image("test.local/busybox:2").await.unwrap(), None);
    assert!(bed.runtime.images().await.unwrap().contains(&by_id));
    let missing = bed.runtime.remove_image("test.local/other").await.unwrap_err();
    assert!(matches!(missing, Error::NotFound(_)), "{missing}");
}

async fn exit_codes_and_signals_are_told(bed: &Bed) {
    for (script, signal, code) in [("exit 0", None, 0), ("exit 3", None, 3), ("sleep 1000", Some(9), 137)] {
        let spec = shell(bed, "codes", script);
        started(bed, &spec).await;
        if let Some(signal) = signal {
            assert!(matches!(phase(bed, &spec.id).await, Some(Phase::Running { .. })));
            bed.runtime.signal(&spec.id, signal).await.unwrap();
        }
        let exit = waited(bed, &spec).await;
        assert_eq!((exit.code, exit.signal, exit.oom_killed), (code, signal, false), "{script}");
        assert_eq!(waited(bed, &spec).await, exit, "waiting again tells the same");
        bed.runtime.signal(&spec.id, 15).await.expect("signalling what has ended is fine");
        assert!(matches!(phase(bed, &spec.id).await, Some(Phase::Exited { exit: seen, .. }) if seen == exit));
        bed.runtime.remove(&spec.id).await.unwrap();
        bed.runtime.remove_sandbox("codes").await.unwrap();
    }
}

async fn what_cannot_start_says_why(bed: &Bed) {
    if !bed.real {
        return;
    }
    for (command, text) in [
        ("nonsense", "executable file not found in $PATH"),
        ("/bin/nonsense", "no such file or directory"),
        ("/not-a-program", "permission denied"),
    ] {
        let spec = ContainerSpec { command: vec![command.into()], ..shell(bed, "why", "") };
        bed.runtime.create_sandbox(&spec.sandbox).await.unwrap();
        bed.runtime.create(&spec).await.unwrap();
        let error = bed.runtime.start(&spec.id).await.unwrap_err();
        assert!(matches!(&error, Error::Start(reason) if reason.contains(text)), "{command}: {error}");
        bed.runtime.remove_sandbox("why").await.unwrap();
    }
    let spec = ContainerSpec { image_id: format!("sha256:{}", "0".repeat(64)), ..shell(bed, "why", "") };
    bed.runtime.create_sandbox(&spec.sandbox).await.unwrap();
    assert!(matches!(bed.runtime.create(&spec).await, Err(Error::NotFound(_))));
    bed.runtime.remove_sandbox("why").await.unwrap();
}

async fn a_restarted_runtime_adopts(bed: &mut Bed) {
    let spec = shell(bed, "adopted", "sleep 1; exit 5");
    started(bed, &spec).await;
    let before = phase(bed, &spec.id).await;
    bed.restart().await;
    let containers = bed.runtime.containers().await.unwrap();
    let found = containers.iter().find(|container| container.id == spec.id).unwrap();
    assert_eq!((Some(&found.phase), &found.labels, &found.image_id), (before.as_ref(), &spec.labels, &spec.image_id));
    assert_eq!(bed.runtime.sandboxes().await.unwrap(), ["adopted"]);
    bed.runtime.create_sandbox(&spec.sandbox).await.unwrap();
    bed.runtime.create(&spec).await.unwrap();
    bed.runtime.start(&spec.id).await.expect("starting what runs is fine");
    let exit = waited(bed, &spec).await;
    assert_eq!(exit.code, 5);
    bed.restart().await;
    assert_eq!(waited(bed, &spec).await, exit, "an end is remembered");
    bed.runtime.remove_sandbox("adopted").await.unwrap();
}

async fn removal_is_complete_and_can_be_repeated(bed: &Bed) {
    let spec = shell(bed, "removed", "sleep 1000");
    started(bed, &spec).await;
    assert!(!bed.real || bed.keeps_images_in_use().await, "an image in use is removed");
    let waiting = bed.runtime.wait(&spec.id);
    let removing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        bed.runtime.remove_sandbox("removed").await.unwrap();
    };
    let (_, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, removing) }).await.unwrap();
    bed.runtime.remove_sandbox("removed").await.expect("removing again is fine");
    bed.runtime.remove(&spec.id).await.expect("removing what is gone is fine");
    assert_eq!(phase(bed, &spec.id).await, None);
    assert!(bed.runtime.sandboxes().await.unwrap().is_empty());
    assert!(matches!(bed.runtime.start(&spec.id).await, Err(Error::NotFound(_))));
}

async fn output_is_logged(bed: &Bed) {
    let spec = shell(bed, "logged", "echo out; echo err >&2; echo -n unfinished");
    let (_, text) = output(bed, &spec).await;
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out", "unfinished"]);
    let raw = std::fs::read_to_string(&spec.log_path).unwrap();
    assert!(raw.contains(" stdout F out\n") && raw.contains(" stderr F err\n"), "{raw}");

    let image_default = ContainerSpec { command: vec![], ..shell(bed, "default", "") };
    assert_eq!(output(bed, &image_default).await.1, "from the image\n");
    let lots = shell(bed, "lots", "yes 0123456789 | dd bs=1024 count=4096 2>/dev/null");
    assert_eq!(output(bed, &lots).await.1.len(), 4 << 20, "nothing is lost");
}

async fn the_process_is_as_the_spec_says(bed: &Bed) {
    let mut spec = shell(bed, "process", "id; echo $FROM_IMAGE $ADDED; readlink /proc/self/cwd; echo $$");
    spec.env = vec![("ADDED".into(), "a b".into())];
    spec.working_dir = "/made/here".into();
    spec.security = Security {
        run_as_user: Some(101),
        supplemental_groups: vec![2000],
        no_new_privileges: true,
        drop_capabilities: vec!["ALL".into()],
        ..Security::default()
    };
    let (_, text) = output(bed, &spec).await;
    assert!(text.starts_with("uid=101(web) gid=102(web) groups=7(extra),102(web),2000\n"), "{text}");
    assert!(text.ends_with("\nyes a b\n/made/here\n1\n"), "{text}");

    let root = ContainerSpec {
        security: Security { run_as_non_root: true, ..Security::default() },
        ..shell(bed, "nonroot", "true")
    };
    bed.runtime.create_sandbox(&root.sandbox).await.unwrap();
    assert!(matches!(bed.runtime.create(&root).await, Err(Error::Config(reason)) if reason.contains("runAsNonRoot")));
    bed.runtime.remove_sandbox("nonroot").await.unwrap();
}

async fn mounts_and_read_only_roots_hold(bed: &Bed) {
    let source = bed.path("volume");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("given"), "content").unwrap();
    let mount = |destination: &str, read_only| Mount {
        source: source.clone(),
        destination: destination.into(),
        read_only,
        propagation: Propagation::Private,
    };
    let script = "cat /rw/given; echo; touch /rw/made; touch /ro/x || echo ro; touch /x || echo root; cat /proc/keys 2>/dev/null";
    let mut spec = shell(bed, "mounts", script);
    spec.mounts = vec![mount("/rw", false), mount("/ro", true)];
    spec.security.read_only_root = true;
    let (_, text) = output(bed, &spec).await;
    let said: Vec<_> = text.lines().filter(|line| !line.contains("touch:")).collect();
    assert_eq!(said, ["content", "ro", "root"], "{text}");
    assert!(source.join("made").exists());
}

async fn memory_limits_kill(bed: &Bed) {
    let mut spec = shell(bed, "memory", "dd if=/dev/zero of=/dev/null bs=100M count=1");
    spec.command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"].map(str::to_owned).to_vec();
    spec.resources = Resources { memory_limit_bytes: 16 << 20, cpu_limit_millis: 500, ..Resources::default() };
    let (exit, _) = output(bed, &spec).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

async fn finished(mut session: ExecSession, input: &[u8]) -> (i32, String, String) {
    if let Some(mut stdin) = session.stdin.take() {
        stdin.write_all(input).await.unwrap();
    }
    let (mut out, mut err) = (String::new(), String::new());
    let read = async {
        session.stdout.read_to_string(&mut out).await.unwrap();
        if let Some(mut stderr) = session.stderr.take() {
            stderr.read_to_string(&mut err).await.unwrap();
        }
        session.exit.await.unwrap()
    };
    let code = tokio::time::timeout(PATIENCE, read).await.expect("the process does not end");
    (code, out, err)
}

async fn other_processes_run_beside_it(bed: &Bed) {
    let mut spec = shell(bed, "beside", "sleep 1000");
    spec.env = vec![("ADDED".into(), "value".into())];
    started(bed, &spec).await;
    let exec =
        |script: &str, stdin| ExecSpec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), tty: false, stdin };
    let run = async |spec: &ExecSpec, container: &ContainerId, input: &[u8]| {
        finished(bed.runtime.exec(container, spec).await.unwrap(), input).await
    };
    let (code, out, err) = run(&exec("echo $ADDED; echo oops >&2; exit 4", false), &spec.id, b"").await;
    assert_eq!((code, out.as_str(), err.as_str()), (4, "value\n", "oops\n"));
    let (code, out, _) = run(&exec("cat; echo end", true), &spec.id, b"typed").await;
    assert_eq!((code, out.as_str()), (0, "typedend\n"));

    let missing = ExecSpec { command: vec!["nonsense".into()], tty: false, stdin: false };
    match bed.runtime.exec(&spec.id, &missing).await {
        Err(Error::Start(reason)) => assert!(reason.contains("executable file not found"), "{reason}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a program that does not exist runs"),
    }
    // A session that nobody wants any more ends its process.
    drop(bed.runtime.exec(&spec.id, &exec("touch /tmp/started; sleep 1234", false)).await.unwrap());
    let gone = async {
        while run(&exec("cat /proc/[0-9]*/cmdline", false), &spec.id, b"").await.1.contains("1234\0") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("an abandoned process goes on");
    bed.runtime.remove_sandbox("beside").await.unwrap();
}

async fn terminals_are_terminals(bed: &Bed) {
    let mut spec = shell(bed, "terminal", "echo to a tty; sleep 1000");
    spec.tty = true;
    started(bed, &spec).await;
    let exec = ExecSpec {
        command: ["sh", "-c", "read line; stty size; echo got $line; exit 6"].map(str::to_owned).to_vec(),
        tty: true,
        stdin: true,
    };
    let mut session = bed.runtime.exec(&spec.id, &exec).await.unwrap();
    assert!(session.stderr.is_none());
    session.resize.as_ref().unwrap().send((123, 45)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    session.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    let stdin = session.stdin.take();
    let (code, out, _) = finished(session, b"").await;
    drop(stdin);
    assert_eq!((code, out.as_str()), (6, "hello\r\n45 123\r\ngot hello\r\n"));
    let logged = async {
        while !log(&spec).await.contains("to a tty") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, logged).await.expect("output of a terminal is logged");
    bed.runtime.remove_sandbox("terminal").await.unwrap();
}

async fn registries_are_pulled_from(bed: &Bed) {
    // Both providers of cryptography may be linked; the first call decides.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = Registry::start(&bed.path("registry"));
    registry.push(&bed.path("busybox.tar"), "team/app:1");
    let name = registry.name("team/app:1");
    let auth = |password: &str| PullAuth { username: USER.into(), password: password.into() };
    for (reference, auth, text) in [
        (name.clone(), None, "authorization failed"),
        (name.clone(), Some(auth("wrong")), "authorization failed"),
        (registry.name("team/app:2"), Some(auth(PASSWORD)), "not found"),
        (registry.name("team/none"), Some(auth(PASSWORD)), "not found"),
        ("127.0.0.1:1/app".to_owned(), None, "refused"),
    ] {
        let error = bed.runtime.pull(&reference, auth.as_ref()).await.unwrap_err();
        assert!(matches!(&error, Error::Pull { reason, .. } if reason.contains(text)), "{reference}: {error}");
    }
    bed.runtime.remove_image(image::NAME).await.unwrap();
    assert_eq!(bed.runtime.image(&bed.image.id).await.unwrap(), None, "the last name takes the image with it");
    let pulled = bed.runtime.pull(&name, Some(&auth(PASSWORD))).await.unwrap();
    assert_eq!((&pulled.id, &pulled.references), (&bed.image.id, &vec![name.clone()]));
    let by_digest = pulled.digests.first().unwrap();
    assert!(by_digest.starts_with(&registry.name("team/app@sha256:")), "{by_digest}");
    assert_eq!(bed.runtime.image(by_digest).await.unwrap().map(|image| image.id), Some(pulled.id.clone()));
    bed.runtime.pull(by_digest, Some(&auth(PASSWORD))).await.unwrap();
    assert_eq!(output(bed, &shell(bed, "pulled", "echo runs")).await.1, "runs\n");
}

async fn the_toolbox_is_packed_from_the_binary(bed: &Bed) {
    let scratch = bed.path("toolbox");
    std::fs::create_dir_all(&scratch).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_shoal"));
    toolbox::ensure(&*bed.runtime, binary, &["sh", "echo"], &scratch).await.unwrap();
    let image = bed.runtime.image(toolbox::NAME).await.unwrap().unwrap();
    let mut spec = shell(bed, "toolbox", "");
    (spec.image_id, spec.command, spec.args) =
        (image.id.clone(), vec![], ["echo", "from the binary"].map(str::to_owned).to_vec());
    assert_eq!(output(bed, &spec).await.1, "from the binary\n");
    let note = std::fs::metadata(scratch.join("toolbox.note")).unwrap().modified().unwrap();
    toolbox::ensure(&*bed.runtime, binary, &["sh", "echo"], &scratch).await.unwrap();
    assert_eq!(std::fs::metadata(scratch.join("toolbox.note")).unwrap().modified().unwrap(), note, "packed once");
}
