//! A node's death: nobody is sent to it, then it is declared, then its pods run elsewhere; and a pod that must not run
//! twice has ended on a node that is cut off before it runs elsewhere.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::process::pin;
use super::harness::{Machine, PATIENCE, Segment, same, wait_until};
use crate::cluster::node::web;

/// What ships: declared within 3 s, pods leave 5 s after that.
const SHIPPED: &str = "default_toleration = \"5s\"";
/// Gossip gives a node up after 1.2 s, and the leader decides after 1.5 s.
const EARLIEST: Duration = Duration::from_millis(1_400);
const DECLARE_AFTER: Duration = Duration::from_secs(3);
/// Gossip doubts after about 0.7 s; the rest is for busy machines.
const WITHDRAWN: Duration = Duration::from_millis(3_500);
/// Beyond the time that is configured, for gossip's first doubt and for busy machines.
const SLACK: Duration = Duration::from_secs(5);

struct Three {
    a: Machine,
    b: Machine,
    c: Machine,
}

fn three(segment: &Segment, runtime: &str) -> Three {
    let mut a = Machine::tuned(segment, "a", runtime, SHIPPED);
    a.up(&[]);
    a.wait_ready();
    let token = a.token(&[]);
    let [b, c] = ["b", "c"].map(|name| {
        let mut machine = Machine::tuned(segment, name, runtime, SHIPPED);
        machine.join(&a, &token);
        machine.wait_ready();
        machine
    });
    Three { a, b, c }
}

/// A pod of the deployment, as an API tells it.
#[derive(Debug, Clone, PartialEq)]
struct Pod {
    name: String,
    node: String,
    ip: String,
    ready: bool,
    going: bool,
}

fn pods(api: &Machine) -> Result<Vec<Pod>, String> {
    let list: Value = serde_json::from_str(&api.try_kubectl(&["get", "pods", "-l", "app=web", "-o", "json"])?)
        .map_err(|error| error.to_string())?;
    let text = |pod: &Value, pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let pod = |pod: &Value| Pod {
        name: text(pod, "/metadata/name"),
        node: text(pod, "/spec/nodeName"),
        ip: text(pod, "/status/podIP"),
        ready: pod["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")),
        going: pod["metadata"]["deletionTimestamp"].is_string(),
    };
    Ok(list["items"].as_array().ok_or("no list")?.iter().map(pod).collect())
}

/// Addresses that Endpoints offers and those that it holds back.
fn offered(api: &Machine, service: &str) -> Result<(usize, usize), String> {
    let body = api.try_kubectl(&["get", "endpoints", service, "-o", "json"])?;
    let endpoints: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let count = |field: &str| endpoints["subsets"][0][field].as_array().map_or(0, Vec::len);
    Ok((count("addresses"), count("notReadyAddresses")))
}

#[test]
fn a_killed_node_is_avoided_then_declared_then_replaced_and_comes_back() {
    let segment = Segment::new();
    let Three { a, b, mut c } = three(&segment, "hollow");
    wait_until("the API is on three nodes", PATIENCE, || same(offered(&a, "kubernetes")?, (3, 0)));
    a.apply(&web("web", 6, "served"));
    a.kubectl(&["expose", "deployment/web", "--port=80", "--target-port=8080"]);
    wait_until("all pods are offered", PATIENCE, || same(offered(&a, "web")?, (6, 0)));
    let mine = pods(&a).expect("a list").iter().filter(|pod| pod.node == "c").count();
    assert!(mine > 0, "pods spread");

    let watch = b.watch_ready("c");
    watch.wait("the watch begins", |ready| ready == "True");
    let killed = Instant::now();
    c.kill_9();
    wait_until("nobody is sent to its pods", PATIENCE, || same(offered(&b, "web")?, (6 - mine, mine)));
    let withdrawn = killed.elapsed();
    let declared = watch.wait("it is declared", |ready| ready != "True") - killed;
    wait_until("nobody is sent to its API either", PATIENCE, || same(offered(&b, "kubernetes")?, (2, 0)));
    wait_until("it is tainted", PATIENCE, || same(taints(&a)?, "NoExecute NoSchedule".to_owned()));
    wait_until("its pods are replaced", PATIENCE, || {
        let pods = pods(&a)?;
        let there = pods.iter().filter(|pod| pod.node != "c" && pod.ready && !pod.going).count();
        same((there, pods.iter().filter(|pod| pod.going).count()), (6, mine))
    });
    let replaced = killed.elapsed();
    println!("withdrawn after {withdrawn:?}, declared after {declared:?}, replaced after {replaced:?}");
    assert!(withdrawn <= WITHDRAWN && withdrawn < declared, "{withdrawn:?}");
    assert!(declared >= EARLIEST && declared <= DECLARE_AFTER + SLACK, "{declared:?}");
    let toleration = Duration::from_secs(5);
    assert!(replaced >= declared + toleration && replaced <= declared + toleration + SLACK, "{replaced:?}");

    c.up(&[]);
    c.wait_ready();
    wait_until("its taints are gone", PATIENCE, || same(taints(&a)?, String::new()));
    wait_until("what it had is confirmed to be gone", PATIENCE, || same(pods(&a)?.len(), 6));
    wait_until("its API is offered again", PATIENCE, || same(offered(&a, "kubernetes")?, (3, 0)));
}

fn taints(api: &Machine) -> Result<String, String> {
    let printed = api.try_kubectl(&["get", "node", "c", "-o=jsonpath={.spec.taints[*].effect}"])?;
    let mut effects: Vec<&str> = printed.split_whitespace().collect();
    effects.sort_unstable();
    Ok(effects.join(" "))
}

#[test]
fn a_node_that_is_cut_off_or_whose_process_is_killed_ends_its_only_pod_before_another_one_starts() {
    let segment = Segment::new();
    let Three { a, b, c } = three(&segment, "embedded");
    // The pod begins on the node that will be cut off.
    a.kubectl(&["cordon", "a", "b"]);
    a.apply(&web("web", 1, "only").replace(
        "    metadata:\n      labels: {app: web}",
        "    metadata:\n      annotations: {shoal.dev/at-most-one: \"true\"}\n      labels: {app: web}",
    ));
    let first = wait_until("the pod runs", PATIENCE, || {
        pods(&a)?.into_iter().find(|pod| pod.ready).ok_or("no pod is ready".to_owned())
    });
    assert_eq!(first.node, "c");
    a.kubectl(&["uncordon", "a", "b"]);

    let answering = Answering::watch(&c, &first.ip);
    wait_until("it answers", PATIENCE, || answering.lately());
    let cut = Instant::now();
    c.cut_from(&a);
    c.cut_from(&b);
    let last = ends_before_another_is_made(&answering, &first, cut, &a);
    wait_until("the other one runs", PATIENCE, || {
        pods(&a)?.into_iter().find(|pod| pod.ready && pod.node != "c").map(drop).ok_or("not yet".to_owned())
    });
    assert_eq!(answering.last(), last, "the first stays ended");

    for machine in [&a, &b, &c] {
        machine.heal();
    }
    wait_until("the node is back and its pod confirmed to be gone", PATIENCE, || {
        a.sees_ready("c", true)?;
        same(pods(&a)?.iter().map(|pod| pod.name != first.name).collect::<Vec<_>>(), vec![true])
    });
    drop(answering);

    // The containers of others outlive their node's process.
    let second = pods(&c).expect("a list").remove(0);
    let mut machines = [a, b];
    let host = machines.iter_mut().find(|machine| machine.name == second.node).expect("it is not on c");
    let answering = Answering::watch(host, &second.ip);
    wait_until("it answers", PATIENCE, || answering.lately());
    let killed = Instant::now();
    host.kill_9();
    let last = ends_before_another_is_made(&answering, &second, killed, &c);
    assert_eq!(answering.last(), last, "the second stays ended");
}

/// Waits until another pod is made in the place of `pod`, which has ended by then. Gives when it last answered.
fn ends_before_another_is_made(answering: &Answering, pod: &Pod, since: Instant, api: &Machine) -> Instant {
    let made = wait_until("another one is made", PATIENCE, || {
        let other = pods(api)?.into_iter().any(|one| one.name != pod.name);
        if other { Ok(Instant::now()) } else { Err("not yet".to_owned()) }
    });
    let last = answering.last();
    println!("answered last after {:?}, replaced after {:?}", last - since, made - since);
    assert!(last - since >= Duration::from_secs(3), "it was stopped much too early: {:?}", last - since);
    // A look at the API takes less than this: what was seen so much later did not begin before.
    let looks = Duration::from_millis(300);
    assert!(
        last + looks < made,
        "two of them ran: the first until {:?}, the second from {:?}",
        last - since,
        made - since
    );
    last
}

/// When a pod last took a connection, asked every few milliseconds from its own machine.
struct Answering {
    last: Arc<Mutex<Option<Instant>>>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Answering {
    fn watch(machine: &Machine, ip: &str) -> Self {
        let target: SocketAddr = format!("{ip}:8080").parse().expect("an address");
        let file = std::fs::File::open(pin(&machine.namespace())).expect("the namespace is there");
        let (last, over) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (seen, end) = (last.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
            while !end.load(Ordering::SeqCst) {
                if TcpStream::connect_timeout(&target, Duration::from_millis(50)).is_ok() {
                    *seen.lock().expect("no panic") = Some(Instant::now());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { last, over, thread: Some(thread) }
    }

    fn lately(&self) -> Result<(), String> {
        self.last.lock().expect("no panic").map(drop).ok_or("it has not answered".to_owned())
    }

    fn last(&self) -> Instant {
        self.last.lock().expect("no panic").expect("it has answered")
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
