//! Pods of several nodes, each node a network namespace of its own: on one link, behind a router, with bad peers. Needs
//! root.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use shoal::runtime::network::PodRoutes;
use shoal::runtime::network::bridge::{BridgeNetwork, NetworkOptions};
use shoal::runtime::network::routes::{KernelRoutes, PeerRoute, Reason, Report, RouteOptions, tunnel_name};
use shoal::runtime::{PodAddresses, PodNetwork};

use super::{PATIENCE, echo_peer, inside, netns, output, pod, seen_from};

/// Bytes that do not fit one packet of the tunnel, nor of what is beneath.
const PAYLOAD: usize = 300_000;

/// A network namespace that goes with this value.
struct Space(String);

impl Space {
    fn new(name: &str) -> Self {
        let _ = Command::new("ip").args(["netns", "del", name]).output();
        output("ip", &["netns", "add", name]);
        let space = Self(name.to_string());
        space.ip("link set lo up");
        space
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    fn ip(&self, command: &str) -> String {
        let arguments: Vec<&str> = ["-n", self.0.as_str()].into_iter().chain(command.split(' ')).collect();
        output("ip", &arguments)
    }

    fn set(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys/net/ipv4").join(name);
        let value = value.to_string();
        inside(&self.path(), move || std::fs::write(path, value).unwrap()).join().unwrap();
    }

    /// Joins two namespaces with a cable; `near` and `far` are the names of its ends.
    fn cable(&self, near: &str, other: &Space, far: &str) {
        self.ip(&format!("link add {near} type veth peer {far} netns {}", other.0));
        self.ip(&format!("link set {near} up"));
        other.ip(&format!("link set {far} up"));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// Several machines on one link: a bridge in a namespace of its own.
struct Segment(Space);

impl Segment {
    fn new(name: &str) -> Self {
        let space = Space::new(name);
        space.ip("link add segment type bridge");
        space.ip("link set segment up");
        Self(space)
    }

    fn connect(&self, machine: &Space, address: &str) {
        let port = format!("p{}", address.split(['.', '/']).nth(3).unwrap());
        machine.cable("eth0", &self.0, &port);
        self.0.ip(&format!("link set {port} master segment"));
        machine.ip(&format!("address add {address} dev eth0"));
    }
}

/// A node: a namespace with a pod network and routes in it.
struct Node {
    name: String,
    network: Option<BridgeNetwork>,
    routes: Option<KernelRoutes>,
    options: NetworkOptions,
    runtime: tokio::runtime::Runtime,
    space: Space,
    _dir: tempfile::TempDir,
}

impl Node {
    /// The `nth` node: its pods are those of 10.213.`nth`.0/24.
    fn new(lab: &str, nth: u8, cable: impl FnOnce(&Space)) -> Self {
        let space = Space::new(&format!("podnet-{lab}{nth}"));
        cable(&space);
        let dir = tempfile::tempdir().unwrap();
        let options = NetworkOptions {
            run: dir.path().join("run"),
            bridge: "podnet0".into(),
            nft_table: "podnet".into(),
            pod_cidr: format!("10.213.{nth}.0/24").parse().unwrap(),
            cluster_cidr: "10.213.0.0/16".parse().unwrap(),
            mtu: 0,
            node_address: "127.0.0.1".parse().unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (name, network, routes) = (format!("{lab}{nth}"), None, None);
        let mut node = Self { name, network, routes, options, runtime, space, _dir: dir };
        node.start();
        node
    }

    fn start(&mut self) {
        let (network, routes) = self.within(async {
            let network = BridgeNetwork::start(self.options.clone()).await.unwrap();
            (network, KernelRoutes::start(self.options.routes()).unwrap())
        });
        (self.network, self.routes) = (Some(network), Some(routes));
    }

    /// Runs a job on a thread in the node's namespace.
    fn within<T: Send>(&self, job: impl Future<Output = T> + Send) -> T {
        let path = self.space.path();
        let run = || {
            let file = std::fs::File::open(&path).unwrap();
            nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            self.runtime.block_on(job)
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    fn attach(&self, uid: &str, ports: &[(&str, u16)]) -> PodAddresses {
        let pod = pod(&format!("{}-{uid}", self.name), ports);
        self.within(self.network.as_ref().unwrap().attach(&pod)).unwrap()
    }

    fn sync(&self, peers: &[PeerRoute]) -> Report {
        self.within(self.routes.as_ref().unwrap().sync(peers)).unwrap()
    }

    fn seen_from_itself(&self, target: SocketAddr) -> Result<IpAddr, std::io::Error> {
        inside(&self.space.path(), move || seen_from(target)).join().unwrap()
    }

    /// How others find this node.
    fn peer(&self, address: &str) -> PeerRoute {
        PeerRoute { node: self.name.clone(), address: address.parse().unwrap(), pod_cidr: self.options.pod_cidr }
    }

    fn our_routes(&self) -> Vec<String> {
        let text = self.space.ip("route show proto 83");
        text.lines().map(|line| line.split(" metric").next().unwrap().trim().to_string()).collect()
    }

    fn tunnel(&self) -> String {
        tunnel_name(&self.options.bridge)
    }

    fn has_tunnel(&self) -> bool {
        self.space.ip("-br link").contains(&self.tunnel())
    }

    fn destroy(&self) {
        self.within(BridgeNetwork::destroy(&self.options)).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        (self.network, self.routes) = (None, None);
        self.destroy();
    }
}

/// Takes bytes until there are no more, and answers as many.
fn mirror(namespace: &Path, port: u16) {
    let (ready, wait) = std::sync::mpsc::channel();
    inside(namespace, move || {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).and_then(|_| stream.write_all(&bytes));
        }
    });
    wait.recv().unwrap();
}

/// Sends bytes through a mirror and checks what comes back.
fn reflect(from: &PodAddresses, target: SocketAddr) {
    let job = move || {
        let mut stream = TcpStream::connect_timeout(&target, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let sent: Vec<u8> = (0..PAYLOAD).map(|nth| u8::try_from(nth % 251).unwrap()).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == sent, "{} of {PAYLOAD} bytes came back", back.len());
    };
    inside(&netns(from), job).join().unwrap();
}

fn seen_by(from: &PodAddresses, target: SocketAddr) -> Result<IpAddr, std::io::Error> {
    inside(&netns(from), move || seen_from(target)).join().unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(pod: &PodAddresses, port: u16) -> SocketAddr {
    SocketAddr::new(pod.ips[0], port)
}

/// Two nodes with a router between them: 198.51.`nth`.2 each.
fn behind_a_router(lab: &str) -> (Space, [Node; 2]) {
    let router = Space::new(&format!("podnet-{lab}r"));
    router.set("ip_forward", "1");
    let node = |nth: u8| {
        Node::new(lab, nth, |machine| {
            machine.cable("eth0", &router, &format!("p{nth}"));
            machine.ip(&format!("address add 198.51.{nth}.2/24 dev eth0"));
            router.ip(&format!("address add 198.51.{nth}.1/24 dev p{nth}"));
            machine.ip(&format!("route add default via 198.51.{nth}.1"));
        })
    };
    let nodes = [node(1), node(2)];
    (router, nodes)
}

fn on_one_link(segment: &Segment, lab: &str, count: u8) -> Vec<Node> {
    let node = |nth| Node::new(lab, nth, |machine| segment.connect(machine, &format!("192.0.2.{nth}/24")));
    (1..=count).map(node).collect()
}

#[test]
fn pods_of_three_nodes_on_one_link_reach_each_other_under_their_own_addresses() {
    let segment = Segment::new("podnet-as");
    let nodes = on_one_link(&segment, "a", 3);
    let peers: Vec<_> = (1..).zip(&nodes).map(|(nth, node)| node.peer(&format!("192.0.2.{nth}"))).collect();
    let outside = Space::new("podnet-ao");
    segment.connect(&outside, "192.0.2.99/24");
    echo_peer(&outside.path(), 90);
    let mut pods = Vec::new();
    for (nth, node) in nodes.iter().enumerate() {
        let others: Vec<_> =
            peers.iter().enumerate().filter(|(other, _)| *other != nth).map(|(_, peer)| peer.clone()).collect();
        let report = node.sync(&others);
        assert_eq!((report.direct, report.tunnelled, report.refused.len(), report.changes.len()), (2, 0, 0, 2));
        assert_eq!(node.sync(&others).changes, [], "a second time there is nothing to do");
        assert!(!node.has_tunnel());
        pods.push(node.attach("pod", &[("0.0.0.0:38300", 80)]));
        echo_peer(&netns(&pods[nth]), 80);
    }
    mirror(&netns(&pods[1]), 81);
    reflect(&pods[0], at(&pods[1], 81));
    for (nth, from) in pods.iter().enumerate() {
        for to in &pods {
            assert_eq!(seen_by(from, at(to, 80)).unwrap(), from.ips[0]);
        }
        let node: IpAddr = format!("192.0.2.{}", nth + 1).parse().unwrap();
        assert_eq!(seen_by(from, address("192.0.2.99:90")).unwrap(), node, "masqueraded to the rest of the world");
        let other = (nth + 1) % 3;
        assert_eq!(nodes[nth].seen_from_itself(at(&pods[other], 80)).unwrap(), node, "nodes reach pods of others");
        let host_port = address(&format!("192.0.2.{}:38300", other + 1));
        assert_eq!(nodes[nth].seen_from_itself(host_port).unwrap(), node, "and their host ports");
        assert_eq!(seen_by(from, host_port).unwrap(), node, "as do pods");
    }
}

#[test]
fn nodes_behind_a_router_use_the_tunnel() {
    let (_router, nodes) = behind_a_router("b");
    let peers = [nodes[0].peer("198.51.1.2"), nodes[1].peer("198.51.2.2")];
    let pods = [nodes[0].attach("pod", &[]), nodes[1].attach("pod", &[])];
    for (nth, other) in [(0, 1), (1, 0)] {
        let report = nodes[nth].sync(&peers[other..=other]);
        assert_eq!((report.direct, report.tunnelled, report.refused.len(), report.changes.len()), (0, 1, 0, 4));
        assert_eq!(nodes[nth].sync(&peers[other..=other]).changes, []);
        echo_peer(&netns(&pods[nth]), 80);
        mirror(&netns(&pods[nth]), 81);
    }
    assert_eq!(nodes[0].our_routes(), ["10.213.2.0/24 via 10.213.2.0 dev podnet0.vx"]);
    assert!(nodes[0].space.ip("link show podnet0.vx").contains("mtu 1450"));
    assert_eq!(seen_by(&pods[0], at(&pods[1], 80)).unwrap(), pods[0].ips[0]);
    assert_eq!(seen_by(&pods[1], at(&pods[0], 80)).unwrap(), pods[1].ips[0]);
    // A pod that hears nothing of smaller packets on the way gets along without.
    for from in &pods {
        let chain = "add table ip deaf; add chain ip deaf in { type filter hook input priority 0; }; \
                     add rule ip deaf in icmp type destination-unreachable drop";
        inside(&netns(from), || drop(output("nft", &[chain]))).join().unwrap();
    }
    reflect(&pods[0], at(&pods[1], 81));
    reflect(&pods[1], at(&pods[0], 81));
    let end: IpAddr = "10.213.1.0".parse().unwrap();
    assert_eq!(nodes[0].seen_from_itself(at(&pods[1], 80)).unwrap(), end, "the node is its end of the tunnel");

    // The narrowest link on the way may become narrower.
    nodes[0].space.ip("link set eth0 mtu 1400");
    assert_eq!(nodes[0].sync(&peers[1..]).changes.len(), 1);
    assert!(nodes[0].space.ip("link show podnet0.vx").contains("mtu 1350"));

    assert_eq!(nodes[0].sync(&[]).tunnelled, 0);
    assert!(!nodes[0].has_tunnel() && nodes[0].our_routes().is_empty());
    assert!(seen_by(&pods[0], at(&pods[1], 80)).is_err());
}

#[test]
fn a_peer_that_moves_is_followed_and_one_that_is_gone_forgotten() {
    let segment = Segment::new("podnet-cs");
    let nodes = on_one_link(&segment, "c", 3);
    let pods: Vec<_> = nodes.iter().map(|node| node.attach("pod", &[])).collect();
    echo_peer(&netns(&pods[1]), 80);
    let third = nodes[2].peer("192.0.2.3");
    nodes[1].sync(&[nodes[0].peer("192.0.2.1")]);
    nodes[0].sync(&[nodes[1].peer("192.0.2.2"), third.clone()]);
    assert!(seen_by(&pods[0], at(&pods[1], 80)).is_ok());

    nodes[1].space.ip("address del 192.0.2.2/24 dev eth0");
    nodes[1].space.ip("address add 192.0.2.22/24 dev eth0");
    // The kernel drops routes whose source address goes: a sync brings them again.
    nodes[1].sync(&[nodes[0].peer("192.0.2.1")]);
    let report = nodes[0].sync(&[nodes[1].peer("192.0.2.22"), third.clone()]);
    assert_eq!(report.changes.len(), 1);
    assert_eq!(seen_by(&pods[0], at(&pods[1], 80)).unwrap(), pods[0].ips[0]);
    let through_third = "10.213.3.0/24 via 192.0.2.3 dev eth0";
    assert_eq!(nodes[0].our_routes(), ["10.213.2.0/24 via 192.0.2.22 dev eth0", through_third]);

    // The same beyond a router.
    let (_router, far) = behind_a_router("d");
    let far_pods = [far[0].attach("pod", &[]), far[1].attach("pod", &[])];
    echo_peer(&netns(&far_pods[1]), 80);
    far[1].sync(&[far[0].peer("198.51.1.2")]);
    far[0].sync(&[far[1].peer("198.51.2.2")]);
    assert!(seen_by(&far_pods[0], at(&far_pods[1], 80)).is_ok());
    far[1].space.ip("address add 198.51.2.77/24 dev eth0");
    far[1].space.ip("address del 198.51.2.2/24 dev eth0");
    far[1].space.ip("address replace 198.51.2.77/24 dev eth0");
    far[1].space.ip("route replace default via 198.51.2.1");
    assert_eq!(far[0].sync(&[far[1].peer("198.51.2.77")]).changes.len(), 1);
    assert_eq!(seen_by(&far_pods[0], at(&far_pods[1], 80)).unwrap(), far_pods[0].ips[0]);

    assert_eq!(nodes[0].sync(&[third]).changes.len(), 1);
    assert_eq!(nodes[0].our_routes(), [through_third]);
    assert!(seen_by(&pods[0], at(&pods[1], 80)).is_err(), "withdrawn");
}

#[test]
fn a_restarted_node_adopts_its_routes() {
    let (_router, mut nodes) = behind_a_router("e");
    let segment = Segment::new("podnet-es");
    nodes[0].space.cable("eth1", &segment.0, "p1");
    segment.0.ip("link set p1 master segment");
    nodes[0].space.ip("address add 192.0.2.1/24 dev eth1");
    let near = PeerRoute { node: "near".into(), ..nodes[1].peer("192.0.2.7") };
    let near = PeerRoute { pod_cidr: "10.213.7.0/24".parse().unwrap(), ..near };
    let peers = [nodes[1].peer("198.51.2.2"), near];
    let report = nodes[0].sync(&peers);
    assert_eq!((report.direct, report.tunnelled), (1, 1));
    let pods = [nodes[0].attach("pod", &[]), nodes[1].attach("pod", &[])];
    nodes[1].sync(&[nodes[0].peer("198.51.1.2")]);
    echo_peer(&netns(&pods[1]), 80);
    let before = (nodes[0].our_routes(), nodes[0].space.ip("-br link show type vxlan"));
    assert_eq!(before.0.len(), 2);

    (nodes[0].network, nodes[0].routes) = (None, None);
    assert!(seen_by(&pods[0], at(&pods[1], 80)).is_ok(), "the traffic does not need the process");
    nodes[0].start();
    assert_eq!(nodes[0].sync(&peers).changes, []);
    assert_eq!((nodes[0].our_routes(), nodes[0].space.ip("-br link show type vxlan")), before);

    // What has gone wrong meanwhile is put right, and what an earlier process left over is removed.
    nodes[0].space.ip("link set podnet0.vx down");
    nodes[0].space.ip("address flush dev podnet0.vx");
    assert!(!nodes[0].sync(&peers).changes.is_empty());
    assert!(seen_by(&pods[0], at(&pods[1], 80)).is_ok());
    nodes[0].space.ip("link del podnet0.vx");
    nodes[0].space.ip("link add podnet0.vx type vxlan id 99 dstport 4790");
    nodes[0].sync(&peers);
    assert!(seen_by(&pods[0], at(&pods[1], 80)).is_ok());
    nodes[0].start();
    assert_eq!(nodes[0].sync(&peers[1..]).changes.len(), 1, "the tunnel goes with all that is on it");
    assert_eq!(nodes[0].our_routes(), ["10.213.7.0/24 via 192.0.2.7 dev eth1"]);
}

#[test]
fn bad_peers_are_refused_alone_and_what_is_not_ours_is_left_alone() {
    let segment = Segment::new("podnet-fs");
    let nodes = on_one_link(&segment, "f", 2);
    let (one, two) = (&nodes[0], nodes[1].peer("192.0.2.2"));
    // The same range and the same protocol, but not our metric; and one that merely looks like ours.
    one.space.ip("route add 10.213.9.0/24 via 192.0.2.50 dev eth0 metric 7");
    one.space.ip("route add 10.99.0.0/16 via 192.0.2.50 dev eth0 proto 83");
    one.space.ip("link add other.vx type vxlan id 5 dstport 4791");
    one.space.ip("route add unreachable 203.0.113.0/24");
    let state = || {
        let lines = one.space.ip("route show table all");
        let lasting = |line: &&str| !line.contains("fe80") && !line.contains("ff00") && !line.contains("inet6");
        let mut lines: Vec<_> = lines.lines().filter(lasting).map(str::to_string).collect();
        lines.push(one.space.ip("-br link").lines().map(|line| line.split(' ').next().unwrap()).collect());
        lines
    };
    let before = state();
    let bad = |node: &str, address: &str, pods: &str| PeerRoute {
        node: node.into(),
        address: address.parse().unwrap(),
        pod_cidr: pods.parse().unwrap(),
    };
    let told = [
        two.clone(),
        bad("x1", "192.0.2.3", "10.213.1.0/25"),
        bad("x2", "192.0.2.3", "10.213.2.0/24"),
        bad("x3", "192.0.2.1", "10.213.3.0/24"),
        bad("x4", "203.0.113.1", "10.213.4.0/24"),
        bad("x5", "100.64.0.1", "10.213.5.0/24"),
        bad("x6", "192.0.2.255", "10.213.6.0/24"),
        bad("y", "192.0.2.9", "10.213.9.0/24"),
    ];
    let report = one.sync(&told);
    let mut reasons: Vec<_> = report.refused.iter().map(|one| (one.peer.node.as_str(), one.reason.clone())).collect();
    reasons.sort_by_key(|(node, _)| *node);
    let expect = [
        ("x1", Reason::OverlapsOwn),
        ("x2", Reason::OverlapsPeer(two.node.clone())),
        ("x3", Reason::ThisMachine),
        ("x4", Reason::Unreachable),
        ("x5", Reason::Unreachable),
        ("x6", Reason::Unreachable),
    ];
    assert_eq!(reasons, expect);
    assert_eq!((report.direct, report.tunnelled), (2, 0));
    let after = state();
    assert_eq!(after.iter().filter(|line| !before.contains(line)).count(), 2);
    assert!(before.iter().all(|line| after.contains(line)));
    let pods = [one.attach("pod", &[]), nodes[1].attach("pod", &[])];
    nodes[1].sync(&[one.peer("192.0.2.1")]);
    echo_peer(&netns(&pods[1]), 80);
    assert_eq!(seen_by(&pods[0], at(&pods[1], 80)).unwrap(), pods[0].ips[0]);
    one.sync(&[]);
    assert_eq!(one.our_routes(), ["10.99.0.0/16 via 192.0.2.50 dev eth0"]);

    // With a tunnel, too, `destroy` removes what the node made and nothing else.
    one.space.ip("route add 100.64.0.0/10 via 192.0.2.2");
    assert_eq!(one.sync(&told).tunnelled, 1);
    assert!(one.has_tunnel());
    one.destroy();
    one.destroy();
    one.space.ip("route del 100.64.0.0/10 via 192.0.2.2");
    let left = state();
    let of_bridge = |line: &&String| line.contains("podnet0 ") || line.contains("10.213.1.");
    let expect: Vec<_> = before.iter().filter(|line| !of_bridge(line)).collect();
    assert!(left.iter().zip(&expect).take(left.len() - 1).all(|(left, expect)| left == *expect), "{left:?} {expect:?}");
    let links = left.last().unwrap();
    assert!(links.contains("other.vx") && links.contains("eth0") && !links.contains("podnet0"), "{links}");
    assert_eq!(one.space.ip("route show proto 83").trim(), "10.99.0.0/16 via 192.0.2.50 dev eth0");
}

#[test]
fn a_link_of_somebody_else_with_the_tunnels_name_is_not_taken() {
    let (_router, nodes) = behind_a_router("g");
    nodes[0].space.ip("link add podnet0.vx type bridge");
    let refused = nodes[0].within(nodes[0].routes.as_ref().unwrap().sync(&[nodes[1].peer("198.51.2.2")])).unwrap_err();
    assert!(refused.to_string().contains("no VXLAN device"), "{refused}");
    nodes[0].space.ip("link del podnet0.vx");
    assert_eq!(nodes[0].sync(&[nodes[1].peer("198.51.2.2")]).tunnelled, 1);
}

#[test]
fn pods_get_through_where_another_program_forwards_nothing() {
    let segment = Segment::new("podnet-hs");
    let closed = "add table ip filter; add chain ip filter FORWARD \
                  { type filter hook forward priority filter; policy drop; }; add rule ip filter FORWARD counter";
    let chain = |machine: &Space| {
        let list = || output("nft", &["list", "chain", "ip", "filter", "FORWARD"]);
        inside(&machine.path(), list).join().unwrap()
    };
    let node = |nth: u8| {
        Node::new("h", nth, |machine| {
            segment.connect(machine, &format!("192.0.2.{nth}/24"));
            inside(&machine.path(), || drop(output("nft", &[closed]))).join().unwrap();
        })
    };
    let mut nodes = [node(1), node(2)];
    let opened = chain(&nodes[0].space);
    assert_eq!(opened.matches("pods of podnet0").count(), 2, "{opened}");
    nodes[0].start();
    assert_eq!(chain(&nodes[0].space), opened, "once only");
    nodes[0].sync(&[nodes[1].peer("192.0.2.2")]);
    nodes[1].sync(&[nodes[0].peer("192.0.2.1")]);
    let pods = [nodes[0].attach("pod", &[]), nodes[1].attach("pod", &[])];
    echo_peer(&netns(&pods[1]), 80);
    assert_eq!(seen_by(&pods[0], at(&pods[1], 80)).unwrap(), pods[0].ips[0]);
    nodes[0].destroy();
    let left = chain(&nodes[0].space);
    assert!(!left.contains("pods of") && left.contains("counter") && left.contains("policy drop"), "{left}");
}

#[test]
fn a_thousand_peers_are_routed_in_seconds_and_looked_over_in_less() {
    let (_router, [node, _]) = behind_a_router("i");
    node.space.ip("address add 192.0.15.1/20 dev eth0");
    let (own, cluster) = ("10.128.0.0/24".parse().unwrap(), "10.128.0.0/9".parse().unwrap());
    let options = RouteOptions::new("podnet-many", own, cluster);
    let routes = node.within(async { KernelRoutes::start(options).unwrap() });
    let peers = |base: [u8; 2]| -> Vec<PeerRoute> {
        let peer = |nth: u16| {
            let [high, low] = (nth + 1).to_be_bytes();
            let [first, second] = base;
            PeerRoute {
                node: format!("node-{nth:04}"),
                address: IpAddr::from([first, second, high + 1, low]),
                pod_cidr: format!("10.{}.{low}.0/24", 129 + u16::from(high)).parse().unwrap(),
            }
        };
        (0..1_000).map(peer).filter(|peer| !peer.address.to_string().ends_with(".255")).collect()
    };
    for (kind, base) in [("on a link", [192, 0]), ("beyond a router", [100, 64])] {
        let peers = peers(base);
        let started = Instant::now();
        let report = node.within(routes.sync(&peers)).unwrap();
        assert_eq!((report.direct + report.tunnelled, report.refused.len()), (peers.len(), 0), "{kind}");
        let first = started.elapsed();
        assert_eq!(node.within(routes.sync(&peers)).unwrap().changes, []);
        let again = started.elapsed() - first;
        eprintln!("{} peers {kind}: first sync {first:?}, repeated {again:?}", peers.len());
        assert!(first < PATIENCE * 3 && again < PATIENCE, "{first:?} {again:?}");
    }
    node.within(routes.sync(&[])).unwrap();
    assert_eq!(node.space.ip("route show proto 83"), "");
}
