//! The agent on a pretended machine, against an API in memory, on virtual time.

mod api;
mod fencing;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::parts::MAX_STARTS;
use super::{Agent, ImagePuller, Machine as Hardware, Message, NodeSettings, Parts};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};
use crate::runtime::hollow::{Hollow, HollowNetwork, Machine, MachineOptions, MemoryLogs};
use crate::runtime::probe::HollowProber;
use crate::runtime::volume::HollowVolumes;
use crate::world::World;
use crate::world::clock::VirtualClock;
use crate::world::entropy::SeededEntropy;
use api::FakeApi;

/// One test's world.
struct Bench {
    api: Arc<FakeApi>,
    machine: Arc<Machine>,
    prober: Arc<HollowProber>,
    volumes: Arc<HollowVolumes>,
    parts: Parts,
    agent: Option<(ActorRef<Message>, JoinHandle<()>)>,
}

impl Bench {
    async fn start() -> Self {
        let clock = Arc::new(VirtualClock::starting_at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let world = World {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            disk: crate::world::disk::sim::SimDisk::new(1).boot(),
        };
        let machine = Machine::new(MachineOptions::default(), world);
        let runtime = Hollow::new(Arc::clone(&machine));
        let api = FakeApi::new();
        let (prober, volumes) = (HollowProber::new(), HollowVolumes::new());
        let parts = Parts {
            node: Arc::new(settings()),
            clock,
            runtime: runtime.clone(),
            network: HollowNetwork::new(Arc::clone(&machine)),
            volumes: volumes.clone(),
            prober: prober.clone(),
            logs: MemoryLogs::new(Arc::clone(&machine)),
            objects: api.clone(),
            executor: api.clone(),
            puller: ImagePuller::new(runtime, 4, None),
            starts: Arc::new(Semaphore::new(MAX_STARTS)),
            quorum: api.clone(),
        };
        let mut bench = Self { api, machine, prober, volumes, parts, agent: None };
        bench.boot().await;
        bench
    }

    async fn boot(&mut self) {
        let (agent, task) = Actor::spawn(None, Agent, self.parts.clone()).await.unwrap();
        self.agent = Some((agent, task));
        self.pass(1).await;
    }

    /// Ends the agent, as a restart of the process does; containers stay.
    async fn halt(&mut self) {
        let (agent, task) = self.agent.take().unwrap();
        agent.stop_children(None);
        agent.stop(None);
        task.await.unwrap();
        self.pass(1).await;
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn pod(&self, name: &str) -> Option<Value> {
        self.api.value(&key(name))
    }

    /// `phase ready restarts` and the waiting reason or exit code of the first container.
    fn line(&self, name: &str) -> String {
        let Some(pod) = self.pod(name) else { return "gone".to_owned() };
        let status = &pod["status"];
        let ready = condition(&pod, "Ready");
        let container = &status["containerStatuses"][0];
        let state = container["state"].as_object().and_then(|state| state.iter().next());
        let detail = match state {
            Some((kind, state)) if kind == "waiting" => state["reason"].as_str().unwrap_or("?").to_owned(),
            Some((kind, state)) if kind == "terminated" => format!("exit {}", state["exitCode"]),
            Some((kind, _)) => kind.clone(),
            None => "none".to_owned(),
        };
        let phase = status["phase"].as_str().unwrap_or("-");
        format!("{phase} ready={ready} restarts={} {detail}", container["restartCount"])
    }

    fn running(&self) -> usize {
        let states = self.machine.containers();
        states.iter().filter(|state| matches!(state.phase, crate::runtime::Phase::Running { .. })).count()
    }
}

fn settings() -> NodeSettings {
    NodeSettings {
        name: "n1".to_owned(),
        ips: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))],
        api_port: 6443,
        pod_cidr: "10.244.0.0/24".to_owned(),
        labels: BTreeMap::new(),
        machine: Hardware { cpus: 2, memory_bytes: 4 << 30, architecture: "amd64".to_owned(), ..Hardware::default() },
        log_root: "/var/log/pods".into(),
        cluster_dns: None,
        cluster_domain: "cluster.local".to_owned(),
        resolv_conf: "nameserver 192.0.2.53\n".to_owned(),
        max_pods: 110,
        decide_after: Duration::from_millis(1_500),
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(id::PODS, "default", name)
}

fn condition<'a>(pod: &'a Value, name: &str) -> &'a str {
    let all = pod["status"]["conditions"].as_array();
    let one = all.and_then(|all| all.iter().find(|one| one["type"] == name));
    one.and_then(|one| one["status"].as_str()).unwrap_or("-")
}

/// A bound pod with one container; `container` is merged into it and `spec` into the pod's.
fn pod(name: &str, container: Value, spec: Value) -> Value {
    let mut own = json!({ "name": "main", "image": "shoal.local/toolbox:latest" });
    merge(&mut own, container);
    let mut whole = json!({ "nodeName": "n1", "containers": [own], "terminationGracePeriodSeconds": 30 });
    merge(&mut whole, spec);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1 },
        "spec": whole, "status": { "phase": "Pending" },
    })
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_up_in_two_writes_and_goes_without_a_trace() {
    let mut bench = Bench::start().await;
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(1).await;
    assert_eq!(bench.line("web"), "Running ready=True restarts=0 running");
    let writes = bench.api.status_writes("web");
    assert!(writes <= 2, "{writes} status writes");
    let seen = bench.pod("web").unwrap();
    assert_eq!(seen["status"]["podIP"], seen["status"]["podIPs"][0]["ip"]);
    assert_eq!(seen["status"]["hostIP"], "192.0.2.1");
    assert_eq!(seen["status"]["qosClass"], "BestEffort");
    bench.pass(60).await;
    assert_eq!(bench.api.status_writes("web"), writes, "an idle pod is not written");

    bench.api.delete(&key("web"), 30);
    bench.pass(2).await;
    assert_eq!(bench.line("web"), "gone");
    assert_eq!(bench.running(), 0);
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_itself_once() {
    let mut bench = Bench::start().await;
    bench.pass(60).await;
    let node = bench.api.value(&ObjectKey::new(id::NODES, "", "n1")).unwrap();
    assert_eq!(node["status"]["capacity"]["memory"], "4Gi");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert!(bench.api.value(&ObjectKey::new(id::LEASES, "kube-node-lease", "n1")).is_some());
    let writes = bench.api.revision();
    bench.pass(600).await;
    assert_eq!(bench.api.revision(), writes, "an idle node writes nothing");
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_leaves_containers_alone() {
    let mut bench = Bench::start().await;
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(1).await;
    let before = bench.machine.containers();
    bench.halt().await;
    assert_eq!(bench.machine.containers(), before);
    bench.boot().await;
    bench.pass(5).await;
    assert_eq!(bench.machine.containers(), before);
    assert_eq!(bench.line("web"), "Running ready=True restarts=0 running");
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_pod_accounts_for_is_removed_once_the_pods_are_known() {
    let mut bench = Bench::start().await;
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(1).await;
    bench.halt().await;
    bench.api.forget(&key("web"));
    assert_eq!(bench.running(), 1);
    bench.boot().await;
    bench.pass(5).await;
    assert_eq!(bench.machine.containers(), []);
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_of_power_containers_run_again_as_restarts() {
    let mut bench = Bench::start().await;
    bench.api.put(key("web"), pod("web", json!({}), json!({})));
    bench.pass(1).await;
    bench.halt().await;
    bench.machine.reboot();
    bench.boot().await;
    bench.pass(20).await;
    assert_eq!(bench.line("web"), "Running ready=True restarts=1 running");
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_backs_off() {
    let mut bench = Bench::start().await;
    let crash = json!({ "env": [
        { "name": "HOLLOW_EXIT_AFTER_MS", "value": "100" }, { "name": "HOLLOW_EXIT_CODE", "value": "3" } ] });
    bench.api.put(key("bad"), pod("bad", crash, json!({})));
    bench.pass(3).await;
    assert_eq!(bench.line("bad"), "Running ready=False restarts=1 CrashLoopBackOff");
    let status = bench.pod("bad").unwrap()["status"]["containerStatuses"][0].clone();
    assert_eq!(
        status["state"]["waiting"]["message"],
        "back-off 10s restarting failed container=main pod=bad_default(uid-bad)"
    );
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    bench.pass(10).await;
    assert_eq!(bench.line("bad"), "Running ready=False restarts=2 CrashLoopBackOff");
    bench.pass(600).await;
    let restarts = bench.pod("bad").unwrap()["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap();
    assert!((5..=7).contains(&restarts), "{restarts}");
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_probe_takes_readiness_away_and_liveness_restarts() {
    let mut bench = Bench::start().await;
    let probes = json!({
        "readinessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 1, "failureThreshold": 1 },
        "livenessProbe": { "tcpSocket": { "port": 81 }, "periodSeconds": 1, "failureThreshold": 3 },
    });
    bench.api.put(key("web"), pod("web", probes, json!({})));
    bench.pass(1).await;
    assert_eq!(bench.line("web"), "Running ready=True restarts=0 running");
    let ip = bench.pod("web").unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    bench.prober.set_failing(&format!("{ip}:80"), true);
    bench.pass(2).await;
    assert_eq!(bench.line("web"), "Running ready=False restarts=0 running");
    bench.prober.set_failing(&format!("{ip}:80"), false);
    bench.prober.set_failing(&format!("{ip}:81"), true);
    bench.pass(6).await;
    bench.prober.set_failing(&format!("{ip}:81"), false);
    bench.pass(60).await;
    let line = bench.line("web");
    assert!(line.starts_with("Running ready=True restarts=") && !line.contains("restarts=0"), "{line}");
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ignores_its_end_is_killed_after_its_grace() {
    let mut bench = Bench::start().await;
    let deaf = json!({ "env": [{ "name": "HOLLOW_TERM_MS", "value": "never" }] });
    bench.api.put(key("deaf"), pod("deaf", deaf, json!({ "terminationGracePeriodSeconds": 5 })));
    bench.pass(1).await;
    bench.api.delete(&key("deaf"), 5);
    bench.pass(4).await;
    assert_eq!(bench.running(), 1);
    bench.pass(2).await;
    assert_eq!((bench.running(), bench.line("deaf").as_str()), (0, "gone"));
    bench.halt().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_config_map_reaches_its_volume() {
    let mut bench = Bench::start().await;
    let map = ObjectKey::new(id::CONFIG_MAPS, "default", "settings");
    let body = |text: &str| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "settings", "namespace": "default", "uid": "m" }, "data": { "a": text } })
    };
    let spec = json!({ "volumes": [{ "name": "v", "configMap": { "name": "settings" } }] });
    let mount = json!({ "volumeMounts": [{ "name": "v", "mountPath": "/etc/settings" }] });
    bench.api.put(key("web"), pod("web", mount, spec));
    bench.pass(1).await;
    assert_eq!(bench.line("web"), "Pending ready=False restarts=0 ContainerCreating");
    bench.api.put(map.clone(), body("one"));
    bench.pass(1).await;
    assert_eq!(bench.line("web"), "Running ready=True restarts=0 running");
    assert!(bench.api.events().contains(
        &"web FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found".to_owned()
    ));
    bench.api.put(map, body("two"));
    bench.pass(1).await;
    let volume = format!("{:?}", bench.volumes.volume("uid-web", "v"));
    assert!(volume.contains("116, 119, 111"), "{volume}");
    bench.halt().await;
}
