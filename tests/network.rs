//! The real pod network, seen from inside pods, from the node and from outside. Needs root.

mod across;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use shoal::runtime::network::bridge::{BridgeNetwork, NetworkOptions};
use shoal::runtime::network::{HostPort, PodAttachment, Protocol};
use shoal::runtime::{PodAddresses, PodNetwork};

const PATIENCE: Duration = Duration::from_secs(3);

/// A network of this test alone; it is destroyed even where the test fails.
struct Fixture {
    options: NetworkOptions,
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(name: &str, subnet: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = NetworkOptions {
            run: dir.path().join("run"),
            bridge: format!("shtest{name}"),
            nft_table: format!("shoal-test-{name}"),
            pod_cidr: format!("10.213.{subnet}.0/24").parse().unwrap(),
            cluster_cidr: "10.213.0.0/16".parse().unwrap(),
            mtu: 0,
            node_address: "127.0.0.1".parse().unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { options, runtime, dir }
    }

    fn start(&self) -> BridgeNetwork {
        self.runtime.block_on(BridgeNetwork::start(self.options.clone())).unwrap()
    }

    fn attach(&self, network: &BridgeNetwork, uid: &str, ports: &[(&str, u16)]) -> PodAddresses {
        self.runtime.block_on(network.attach(&pod(uid, ports))).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.runtime.block_on(BridgeNetwork::destroy(&self.options)).unwrap();
    }
}

fn pod(uid: &str, ports: &[(&str, u16)]) -> PodAttachment {
    let port = |(host, container_port): &(&str, u16)| HostPort {
        host: host.parse().unwrap(),
        container_port: *container_port,
        protocol: Protocol::Tcp,
    };
    PodAttachment {
        pod_uid: uid.into(),
        hostname: format!("host-{uid}"),
        host_network: false,
        host_ipc: false,
        host_ports: ports.iter().map(port).collect(),
    }
}

/// Runs `job` on a thread inside a network namespace.
fn inside<T: Send + 'static>(namespace: &Path, job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let file = File::open(namespace).unwrap();
    std::thread::spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
        job()
    })
}

/// Listens in a namespace, for as many connections as there are; each is told the address it was seen from.
fn echo_peer(namespace: &Path, port: u16) {
    let (ready, wait) = std::sync::mpsc::channel();
    inside(namespace, move || {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_string();
            let _ = stream.write_all(peer.as_bytes());
        }
    });
    wait.recv().unwrap();
}

/// Connects from where the calling thread is; the address that the other side saw.
fn seen_from(target: SocketAddr) -> Result<IpAddr, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.parse().unwrap())
}

fn netns(pod: &PodAddresses) -> PathBuf {
    pod.network_namespace.clone().unwrap()
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pods_reach_each_other_under_their_own_addresses_and_names() {
    let fixture = Fixture::new("a", 1);
    let network = fixture.start();
    let one = fixture.attach(&network, "one", &[]);
    let two = fixture.attach(&network, "two", &[]);
    echo_peer(&netns(&one), 80);
    let target = at(one.ips[0], 80);
    assert_eq!(inside(&netns(&two), move || seen_from(target)).join().unwrap().unwrap(), two.ips[0]);
    assert_eq!(seen_from(target).unwrap(), network.gateway(), "the node reaches pods");
    assert_eq!(inside(&netns(&one), move || seen_from(target)).join().unwrap().unwrap(), one.ips[0]);
    let uts = File::open(one.uts_namespace.unwrap()).unwrap();
    let name = std::thread::spawn(move || {
        setns(&uts, CloneFlags::CLONE_NEWUTS).unwrap();
        nix::unistd::gethostname().unwrap()
    });
    assert_eq!(name.join().unwrap(), "host-one");
}

#[test]
fn the_outside_sees_the_node_and_reaches_pods_by_host_ports_only() {
    let fixture = Fixture::new("b", 2);
    let network = fixture.start();
    let outside = Outside::new("shtestout", "198.51.100.1/30", "198.51.100.2/30");
    let server = fixture.attach(&network, "server", &[("0.0.0.0:38080", 80), ("198.51.100.1:38081", 80)]);
    let client = fixture.attach(&network, "client", &[]);
    echo_peer(&netns(&server), 80);
    echo_peer(&outside.namespace, 90);

    let target = "198.51.100.2:90".parse().unwrap();
    let seen = inside(&netns(&client), move || seen_from(target)).join().unwrap();
    assert_eq!(seen.unwrap().to_string(), "198.51.100.1", "masqueraded");

    let node: SocketAddr = "198.51.100.1:38080".parse().unwrap();
    let seen = inside(&outside.namespace, move || seen_from(node)).join().unwrap();
    assert_eq!(seen.unwrap().to_string(), "198.51.100.2", "the pod sees who asks");
    let gateway = at(network.gateway(), 38080);
    for target in ["127.0.0.1:38080".parse().unwrap(), node, gateway, "198.51.100.1:38081".parse().unwrap()] {
        let from = if target.ip().is_loopback() { network.gateway() } else { target.ip() };
        assert_eq!(seen_from(target).unwrap(), from, "from the node to {target}");
    }
    assert!(seen_from("127.0.0.1:38081".parse().unwrap()).is_err(), "only at its address");
    for from in [&client, &server] {
        assert_eq!(inside(&netns(from), move || seen_from(gateway)).join().unwrap().unwrap(), network.gateway());
    }
}

#[test]
fn pods_do_not_reach_what_listens_on_the_nodes_loopback() {
    let fixture = Fixture::new("c", 3);
    let network = fixture.start();
    let pod = fixture.attach(&network, "pod", &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let namespace = netns(&pod);
    let gateway = network.gateway().to_string();
    // What a hostile pod with NET_ADMIN would do: send loopback addresses over the wire.
    let hostile = inside(&namespace, move || {
        output("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"]);
        output("sysctl", &["-qw", "net.ipv4.conf.all.route_localnet=1"]);
        output("ip", &["route", "add", "127.0.0.0/8", "via", &gateway, "dev", "eth0"]);
    });
    hostile.join().unwrap();
    assert!(inside(&namespace, move || seen_from(target)).join().unwrap().is_err());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nothing has come through");
}

#[test]
fn a_restarted_node_finds_its_pods_and_repeats_nothing() {
    let fixture = Fixture::new("d", 4);
    let network = fixture.start();
    let before = fixture.attach(&network, "pod", &[("0.0.0.0:38084", 80)]);
    echo_peer(&netns(&before), 80);
    drop(network);
    let network = fixture.start();
    let target = "127.0.0.1:38084".parse().unwrap();
    assert!(seen_from(target).is_ok(), "host ports work before anybody attaches again");
    assert_eq!(fixture.runtime.block_on(network.attached()).unwrap(), ["pod"]);
    assert_eq!(fixture.attach(&network, "pod", &[("0.0.0.0:38084", 80)]), before);
    assert!(seen_from(target).is_ok(), "the same namespace, with what listens in it");
    let other = fixture.attach(&network, "other", &[]);
    assert_ne!(other.ips, before.ips);
    let taken = fixture.runtime.block_on(network.attach(&pod("third", &[("0.0.0.0:38084", 80)]))).unwrap_err();
    assert!(taken.to_string().contains("host port 38084 is taken"), "{taken}");
    assert_eq!(fixture.runtime.block_on(network.attached()).unwrap(), ["other", "pod"]);
}

#[test]
fn a_pod_that_is_half_there_is_made_whole_with_its_address() {
    let fixture = Fixture::new("e", 5);
    let network = fixture.start();
    let before = fixture.attach(&network, "pod", &[]);
    nix::mount::umount2(&netns(&before), nix::mount::MntFlags::MNT_DETACH).unwrap();
    let after = fixture.attach(&network, "pod", &[]);
    assert_eq!(after, before);
    echo_peer(&netns(&after), 80);
    assert!(seen_from(at(after.ips[0], 80)).is_ok());
}

#[test]
fn detach_and_destroy_leave_nothing_behind() {
    let fixture = Fixture::new("f", 6);
    let links = || output("ip", &["-br", "link", "show", "type", "veth"]);
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let run = fixture.dir.path().to_str().unwrap().to_string();
    let network = fixture.start();
    let names: Vec<String> = (0..3).map(|i| format!("pod-{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        fixture.attach(&network, name, &[(&format!("0.0.0.0:{}", 38090 + i), 80)]);
    }
    let host = PodAttachment { host_network: true, host_ipc: true, ..pod("host", &[("0.0.0.0:38099", 80)]) };
    let host = fixture.runtime.block_on(network.attach(&host)).unwrap();
    assert_eq!((host.network_namespace, host.ips[0].to_string().as_str()), (None, "127.0.0.1"));
    let bridge = fixture.options.bridge.clone();
    let ports = || output("ip", &["-br", "link", "show", "master", &bridge]).lines().count();
    assert_eq!(ports(), 3);
    for name in names.iter().map(String::as_str).chain(["host", "never-attached"]) {
        fixture.runtime.block_on(network.detach(name)).unwrap();
        fixture.runtime.block_on(network.detach(name)).unwrap();
    }
    assert_eq!(ports(), 0);
    assert!(!mounts().contains(&run), "{}", mounts());
    let table = output("nft", &["list", "table", "ip", &fixture.options.nft_table]);
    assert!(!table.contains("3809"), "{table}");
    assert_eq!(std::fs::read_dir(fixture.options.run.join("ns")).unwrap().count(), 0);

    fixture.attach(&network, "left-over", &[]);
    drop(network);
    fixture.runtime.block_on(BridgeNetwork::destroy(&fixture.options)).unwrap();
    assert!(!output("ip", &["-br", "link"]).contains(&bridge));
    assert!(!output("nft", &["list", "tables"]).contains(&fixture.options.nft_table));
    assert!(!mounts().contains(&run) && !links().contains(&bridge));
}

#[test]
fn a_hundred_pods_attach_at_once() {
    let fixture = Fixture::new("g", 7);
    let network = std::sync::Arc::new(fixture.start());
    let started = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|i| {
            let network = std::sync::Arc::clone(&network);
            fixture.runtime.spawn(async move { network.attach(&pod(&format!("pod-{i}"), &[])).await.unwrap().ips[0] })
        })
        .collect();
    let addresses: std::collections::BTreeSet<IpAddr> =
        tasks.into_iter().map(|task| fixture.runtime.block_on(task).unwrap()).collect();
    eprintln!("100 pods attached in {:?}", started.elapsed());
    assert_eq!(addresses.len(), 100);
    for i in 0..100 {
        fixture.runtime.block_on(network.detach(&format!("pod-{i}"))).unwrap();
    }
    eprintln!("and detached after {:?}", started.elapsed());
}

/// A machine on another network, which knows no way to pods.
struct Outside {
    name: String,
    namespace: PathBuf,
}

impl Outside {
    fn new(name: &str, node: &str, address: &str) -> Self {
        let _ = Command::new("ip").args(["netns", "del", name]).output();
        output("ip", &["netns", "add", name]);
        output("ip", &["link", "add", name, "type", "veth", "peer", "eth0", "netns", name]);
        output("ip", &["address", "add", node, "dev", name]);
        output("ip", &["link", "set", name, "up"]);
        output("ip", &["-n", name, "address", "add", address, "dev", "eth0"]);
        output("ip", &["-n", name, "link", "set", "eth0", "up"]);
        Self { name: name.into(), namespace: Path::new("/run/netns").join(name) }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}
