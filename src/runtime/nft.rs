//! Text for `nft -f -`: the pod network's one table, and the changes to it. Pure but for [`apply`]
//! and [`chain`].

use std::fmt::Write;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use super::Error;
use super::network::{Cidr, HostPort, Protocol};

/// What the table is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, in family `ip`.
    pub name: String,
    /// The bridge that pods are attached to.
    pub bridge: String,
    /// The device that leads to pods of other nodes, whether or not it is there.
    pub tunnel: String,
    /// Addresses of the node's pods.
    pub pods: Cidr,
    /// Addresses of all nodes' pods.
    pub cluster: Cidr,
}

/// A host port and the pod behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The port.
    pub port: HostPort,
    /// Address of the pod.
    pub pod: Ipv4Addr,
}

impl Table {
    /// Replaces the whole table, whatever it was, in one transaction.
    pub fn replace(&self, forwards: &[Forward]) -> String {
        let Self { name, bridge, tunnel, pods, cluster } = self;
        let mut text = format!("add table ip {name}\ndelete table ip {name}\ntable ip {name} {{\n");
        text.push_str(
            "  map hostports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map hostports_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  chain hostports {
    dnat ip to ip daddr . meta l4proto . th dport map @hostports_at
    dnat ip to meta l4proto . th dport map @hostports
  }
",
        );
        // Host ports on loopback need route_localnet on the bridge; the first chain closes what that would open: pods
        // must not reach what listens on the node's loopback. Answers pass, their address is not yet translated back.
        // What other nodes send through the tunnel is from pods, or from their own end of it, which is in the range too.
        // Pods know nothing of the tunnel's smaller packets: connections are told when they are made, so that they do
        // not depend on ICMP.
        let _ = write!(
            text,
            "  chain shield {{
    type filter hook prerouting priority raw; policy accept;
    iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
    iifname \"{bridge}\" ip saddr != {pods} drop
    iifname \"{tunnel}\" ip saddr != {cluster} drop
  }}
  chain clamp {{
    type filter hook forward priority mangle; policy accept;
    oifname \"{tunnel}\" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump hostports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump hostports
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pods} ip daddr != {cluster} oifname != \"{bridge}\" masquerade
    ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade
    ip saddr {pods} oifname \"{bridge}\" ct status dnat masquerade
  }}
}}
"
        );
        text.push_str(&self.add(forwards));
        text
    }

    /// Adds forwards; those that are there already stay.
    pub fn add(&self, forwards: &[Forward]) -> String {
        self.change("add", forwards, true)
    }

    /// Takes forwards away.
    pub fn remove(&self, forwards: &[Forward]) -> String {
        self.change("delete", forwards, false)
    }

    /// Removes the table, whether or not it is there.
    pub fn drop_all(&self) -> String {
        format!("add table ip {}\ndelete table ip {}\n", self.name, self.name)
    }

    fn change(&self, verb: &str, forwards: &[Forward], with_value: bool) -> String {
        let mut text = String::new();
        for Forward { port, pod } in forwards {
            let (map, key) = element(port);
            let _ = write!(text, "{verb} element ip {} {map} {{ {key}", self.name);
            if with_value {
                let _ = write!(text, " : {pod} . {}", port.container_port);
            }
            text.push_str(" }\n");
        }
        text
    }
}

fn element(port: &HostPort) -> (&'static str, String) {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    match port.host.ip() {
        IpAddr::V4(address) if !address.is_unspecified() => {
            ("hostports_at", format!("{address} . {protocol} . {}", port.host.port()))
        }
        _ => ("hostports", format!("{protocol} . {}", port.host.port())),
    }
}

/// Feeds `text` to `nft`, as one transaction.
///
/// # Errors
/// Where the program is missing or refuses; nothing is changed then.
pub async fn apply(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    let spawned = tokio::process::Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| not_run(&error))?;
    let failed = |error: std::io::Error| Error::System(format!("cannot talk to `nft`: {error}"));
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes()).await.map_err(failed)?;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no reason given");
    Err(Error::System(format!(
        "nftables refused a change ({first}); the kernel needs CONFIG_NF_TABLES and CONFIG_NFT_NAT"
    )))
}

/// The listing of a chain (family, table and name), with handles; `None` where there is none.
///
/// # Errors
/// Where the program is missing.
pub async fn chain(path: &[&str]) -> Result<Option<String>, Error> {
    let listed = tokio::process::Command::new("nft")
        .args(["-a", "list", "chain"])
        .args(path)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = listed.await.map_err(|error| not_run(&error))?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn not_run(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::System("the program `nft` is missing: `apt install nftables`".into()),
        _ => Error::System(format!("cannot run `nft`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(host: &str, container_port: u16, protocol: Protocol) -> Forward {
        let port = HostPort { host: host.parse().unwrap(), container_port, protocol };
        Forward { port, pod: Ipv4Addr::new(10, 244, 0, 9) }
    }

    fn table() -> Table {
        Table {
            name: "shoal".into(),
            bridge: "shoal0".into(),
            tunnel: "shoal0.vx".into(),
            pods: "10.244.0.0/24".parse().unwrap(),
            cluster: "10.244.0.0/16".parse().unwrap(),
        }
    }

    #[test]
    fn a_change_names_exactly_its_elements() {
        let forwards = [forward("0.0.0.0:8080", 80, Protocol::Tcp), forward("10.0.0.7:53", 5353, Protocol::Udp)];
        assert_eq!(
            table().add(&forwards),
            "add element ip shoal hostports { tcp . 8080 : 10.244.0.9 . 80 }\n\
             add element ip shoal hostports_at { 10.0.0.7 . udp . 53 : 10.244.0.9 . 5353 }\n"
        );
        assert_eq!(
            table().remove(&forwards),
            "delete element ip shoal hostports { tcp . 8080 }\n\
             delete element ip shoal hostports_at { 10.0.0.7 . udp . 53 }\n"
        );
        assert_eq!(table().add(&[]), "");
    }

    #[test]
    fn the_whole_table_is_one_transaction_that_starts_from_nothing() {
        let text = table().replace(&[forward("0.0.0.0:8080", 80, Protocol::Tcp)]);
        assert!(text.starts_with("add table ip shoal\ndelete table ip shoal\ntable ip shoal {\n"), "{text}");
        assert!(text.ends_with("}\nadd element ip shoal hostports { tcp . 8080 : 10.244.0.9 . 80 }\n"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        let masquerade = "ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/16 oifname != \"shoal0\" masquerade";
        assert!(text.contains(masquerade), "{text}");
    }
}
