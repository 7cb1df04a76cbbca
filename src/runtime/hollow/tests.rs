//! Pretended containers behave as their scripts say, on virtual time.

use std::net::SocketAddr;

use super::*;
use crate::model::Timestamp;
use crate::runtime::container::{Resources, Security};
use crate::runtime::logs::{LogSource as _, ReadOptions};
use crate::runtime::network::{HostPort, PodAttachment, PodNetwork as _, Protocol};
use crate::world::World;
use crate::world::clock::VirtualClock;
use crate::world::entropy::SeededEntropy;

fn machine() -> Arc<Machine> {
    let world = World {
        clock: Arc::new(VirtualClock::starting_at(Timestamp(0))),
        entropy: Arc::new(SeededEntropy::new(7)),
        disk: crate::world::disk::sim::SimDisk::new(7).boot(),
    };
    let start_latency = (Duration::from_millis(10), Duration::from_millis(20));
    Machine::new(MachineOptions { start_latency, ..MachineOptions::default() }, world)
}

fn sandbox() -> SandboxSpec {
    SandboxSpec {
        pod_uid: "u1".into(),
        namespace: "default".into(),
        name: "p".into(),
        hostname: "p".into(),
        network_namespace: None,
        ipc_namespace: None,
        uts_namespace: None,
        host_pid: false,
        cgroup: "besteffort/podu1".into(),
    }
}

async fn created(runtime: &Hollow, args: &str, env: &[(&str, &str)]) -> ContainerId {
    let image = runtime.pull("app", None).await.unwrap();
    runtime.create_sandbox(&sandbox()).await.unwrap();
    let spec = ContainerSpec {
        id: ContainerId { pod_uid: "u1".into(), container: "c".into(), attempt: 0 },
        sandbox: sandbox(),
        image_id: image.id,
        command: vec![],
        args: args.split(' ').map(str::to_owned).collect(),
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        working_dir: String::new(),
        mounts: vec![],
        resources: Resources::default(),
        security: Security::default(),
        tty: false,
        log_path: "/logs/default_p_u1/c/0.log".into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
    };
    runtime.create(&spec).await.unwrap();
    spec.id
}

async fn check_exit(args: &str, env: &[(&str, &str)], code: i32, after_ms: u64) {
    let runtime = Hollow::new(machine());
    let id = created(&runtime, args, env).await;
    runtime.start(&id).await.unwrap();
    let began = tokio::time::Instant::now();
    let exit = runtime.wait(&id).await.unwrap();
    assert_eq!((exit.code, began.elapsed()), (code, Duration::from_millis(after_ms)), "{args} {env:?}");
}

#[tokio::test(start_paused = true)]
async fn a_script_decides_when_and_how_a_container_ends() {
    check_exit("exit 3", &[], 3, 0).await;
    check_exit("toolbox sleep 5", &[], 0, 5000).await;
    check_exit("toolbox crash --after 2s", &[], 1, 2000).await;
    check_exit("sh -c sleep 1; exit 4", &[], 4, 1000).await;
    check_exit("serve", &[("HOLLOW_EXIT_AFTER_MS", "250"), ("HOLLOW_EXIT_CODE", "9")], 9, 250).await;
    check_exit("serve", &[("HOLLOW_EXIT_AFTER_MS", "1"), ("HOLLOW_OOM", "true")], 137, 1).await;
}

#[tokio::test(start_paused = true)]
async fn signals_end_what_listens_to_them() {
    let runtime = Hollow::new(machine());
    let id = created(&runtime, "serve", &[("HOLLOW_TERM_MS", "never")]).await;
    runtime.start(&id).await.unwrap();
    runtime.signal(&id, 15).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(60), runtime.wait(&id)).await;
    assert!(waited.is_err(), "SIGTERM is ignored");
    let (exit, ()) = tokio::join!(runtime.wait(&id), async { runtime.signal(&id, 9).await.unwrap() });
    assert_eq!(exit.unwrap().code, 137);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_finds_what_the_last_one_left() {
    let machine = machine();
    let id = created(&Hollow::new(Arc::clone(&machine)), "sleep 100", &[("HOLLOW_PRINT", "hello")]).await;
    Hollow::new(Arc::clone(&machine)).start(&id).await.unwrap();
    let next = Hollow::new(Arc::clone(&machine));
    let seen = next.containers().await.unwrap();
    assert!(matches!(seen[0].phase, Phase::Running { .. }) && seen[0].labels["a"] == "b", "{seen:?}");
    assert_eq!(next.wait(&id).await.unwrap().code, 0);

    let logs = MemoryLogs::new(Arc::clone(&machine));
    let path = Path::new("/logs/default_p_u1/c/0.log");
    let text: Vec<_> = futures::StreamExt::collect(logs.read(path, &ReadOptions::default()).unwrap()).await;
    assert_eq!(text[0].as_ref().unwrap(), "hello\n");

    machine.reboot();
    assert!(next.containers().await.unwrap().is_empty() && next.image("app").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn failures_are_scripted_by_names() {
    let runtime = Hollow::new(machine());
    for (name, text) in [("missing", "not found"), ("a/private-x", "unauthorized"), ("unreachable", "refused")] {
        let error = runtime.pull(name, None).await.unwrap_err().to_string();
        assert!(error.contains(text), "{name}: {error}");
    }
    let id = created(&runtime, "serve", &[("HOLLOW_FAIL_START", "no such file")]).await;
    assert_eq!(runtime.start(&id).await, Err(Error::Start("no such file".into())));
}

#[tokio::test(start_paused = true)]
async fn pods_have_addresses_of_their_own_and_give_them_back() {
    let machine = machine();
    let network = HollowNetwork::new(Arc::clone(&machine));
    let pod = |uid: &str, port| PodAttachment {
        pod_uid: uid.into(),
        hostname: uid.into(),
        host_network: false,
        host_ipc: false,
        host_ports: vec![HostPort {
            host: SocketAddr::from(([0, 0, 0, 0], port)),
            container_port: 80,
            protocol: Protocol::Tcp,
        }],
    };
    let first = network.attach(&pod("a", 8080)).await.unwrap();
    assert_eq!(network.attach(&pod("a", 8080)).await.unwrap(), first, "attaching is idempotent");
    assert_ne!(network.attach(&pod("b", 8081)).await.unwrap(), first);
    assert!(network.attach(&pod("c", 8080)).await.is_err(), "the host port is taken");
    network.detach("a").await.unwrap();
    network.detach("a").await.unwrap();
    assert_eq!(network.attached().await.unwrap(), ["b"]);
    for n in 0..252u16 {
        network.attach(&pod(&format!("x{n}"), 10_000 + n)).await.unwrap();
    }
    assert!(network.attach(&pod("one-more", 9)).await.is_err(), "the range is exhausted");
}
