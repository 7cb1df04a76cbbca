//! Addresses and ports of pods, and what the containers of one share.

use super::super::node::{Node, free_port};
use super::{container, field, inside, pod, ready};

#[test]
fn pods_are_reached_by_address_by_host_port_and_on_the_nodes_own_network() {
    let node = Node::start_with("embedded", &format!("address = \"{}\"", address()));
    let (host_port, own_port) = (free_port(), free_port());
    let probe = "readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}";
    let server =
        format!("args: [http-echo, --text, served], ports: [{{containerPort: 8080, hostPort: {host_port}}}], {probe}");
    let own = format!("args: [http-echo, --port, \"{own_port}\", --text, on-the-node]");
    node.apply(&pod("server", "", &[container("web", &server)]));
    let beside = container("web", "args: [http-echo, --port, \"9090\", --text, beside]");
    node.apply(&pod("client", "", &[container("main", "args: [sleep]"), beside]));
    node.apply(&pod("own", "  hostNetwork: true\n", &[container("web", &own)]));
    ["server", "client", "own"].iter().for_each(|name| ready(&node, name));

    let ip = field(&node, "server", ".status.podIP");
    assert!(ip.starts_with("10.2"), "an address of the pod range: {ip}");
    assert_eq!(get(&format!("http://{ip}:8080/")), "served");
    assert_eq!(inside(&node, "client", "main", &format!("wget -q -O - http://{ip}:8080/")), "served");
    let other = field(&node, "client", ".status.podIP");
    assert_eq!(inside(&node, "server", "web", &format!("wget -q -O - http://{other}:9090/")), "beside");
    assert_eq!(inside(&node, "client", "main", "wget -q -O - http://127.0.0.1:9090/"), "beside", "one network");

    let host_ip = field(&node, "own", ".status.hostIP");
    assert_eq!(get(&format!("http://127.0.0.1:{host_port}/")), "served", "from the node's loopback");
    assert_eq!(get(&format!("http://{host_ip}:{host_port}/")), "served", "from the node's address");
    assert_eq!(inside(&node, "client", "main", &format!("wget -q -O - http://{host_ip}:{host_port}/")), "served");
    assert_eq!(get(&format!("http://127.0.0.1:{own_port}/")), "on-the-node");
    assert_eq!(field(&node, "own", ".status.podIP"), host_ip);

    assert_eq!(inside(&node, "client", "main", "hostname"), "client");
    let hosts = inside(&node, "client", "main", "cat /etc/hosts");
    assert!(hosts.contains(&other) && hosts.contains("client"), "{hosts}");
    assert!(!inside(&node, "client", "main", "cat /etc/resolv.conf").is_empty());
}

/// The machine's own address on its way out; nothing is sent.
fn address() -> String {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect("192.0.2.1:9").expect("a way out");
    socket.local_addr().expect("an address").ip().to_string()
}

fn get(url: &str) -> String {
    let mut command = std::process::Command::new("curl");
    super::super::node::run(command.args(["-sS", "--max-time", "5", url])).trim_end().to_owned()
}
