//! The table of settings: one row each, from which parsing, the environment's names and the reference are derived.

use std::time::Duration;

use super::parse;
use super::{LogFormat, Settings};
use crate::actors::settings::RuntimeKind;

/// A value as a layer gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One value; numbers and truth values as they are written.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// How a setting reads its value; the error says what was expected.
pub enum Reader {
    /// One value.
    One(fn(&mut Settings, &str) -> Result<(), String>),
    /// A list; the environment and flags separate its items by commas.
    Many(fn(&mut Settings, &[String]) -> Result<(), String>),
}

/// One setting.
pub struct Setting {
    /// Its name in files, tables joined by dots.
    pub key: &'static str,
    /// What it takes, in a few words.
    pub takes: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Reads it.
    pub reader: Reader,
}

impl Setting {
    /// Its name in the environment.
    pub fn variable(&self) -> String {
        format!("SHOAL_{}", self.key.replace('.', "_").to_uppercase())
    }
}

const fn one(
    key: &'static str,
    takes: &'static str,
    means: &'static str,
    read: fn(&mut Settings, &str) -> Result<(), String>,
) -> Setting {
    Setting { key, takes, means, reader: Reader::One(read) }
}

const fn many(
    key: &'static str,
    takes: &'static str,
    means: &'static str,
    read: fn(&mut Settings, &[String]) -> Result<(), String>,
) -> Setting {
    Setting { key, takes, means, reader: Reader::Many(read) }
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    one(
        "data",
        "directory",
        "Everything that must survive a restart: keys, the store, images, volumes of pods.",
        |s, v| parse::path(v).map(|path| s.node.data = path),
    ),
    one(
        "run",
        "directory",
        "What lives only while the machine is up: pinned namespaces and sockets. Empty: `/run/shoal` for the default data directory, else `run` in the data directory.",
        |s, v| {
            s.node.run = v.into();
            Ok(())
        },
    ),
    one(
        "listen",
        "address:port",
        "Where the API listens, on TCP and UDP. Every connection is TLS and needs a client certificate of the cluster.",
        |s, v| parse::listen(v).map(|listen| s.node.listen = listen),
    ),
    one("name", "DNS label", "Name of the node. Empty: the machine's host name.", |s, v| {
        parse::node_name(v).map(|name| s.node.name = name)
    }),
    one(
        "address",
        "IP address",
        "Address by which others reach the node. Empty: the listen address, or the one that the default route leaves from.",
        |s, v| parse::optional(v, "an IP address", str::parse).map(|address| s.address = address),
    ),
    one(
        "runtime",
        "auto, containerd, embedded or hollow",
        "What runs containers. `auto` takes containerd where its socket answers, else the built-in runtime; `hollow` only pretends.",
        |s, v| {
            parse::choice(
                v,
                &[
                    ("auto", RuntimeKind::Auto),
                    ("containerd", RuntimeKind::Containerd),
                    ("embedded", RuntimeKind::Embedded),
                    ("hollow", RuntimeKind::Hollow),
                ],
            )
            .map(|kind| s.node.runtime = kind)
        },
    ),
    one("containerd_socket", "path", "Socket of the containerd daemon.", |s, v| {
        parse::path(v).map(|path| s.node.containerd_socket = path)
    }),
    one("cluster_domain", "DNS name", "DNS domain of the cluster.", |s, v| {
        parse::dns_name(v).map(|name| s.node.cluster_domain = name)
    }),
    one(
        "log.filter",
        "filter",
        "What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), and levels for parts of the program, as in `info,shoal::store=debug`.",
        |s, v| {
            s.log.filter = v.into();
            Ok(())
        },
    ),
    one(
        "log.format",
        "auto, text or json",
        "Form of log lines on standard error. `auto`: coloured text on a terminal, else plain text.",
        |s, v| {
            parse::choice(v, &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)])
                .map(|format| s.log.format = format)
        },
    ),
    many(
        "join",
        "list of host:port",
        "Members to join through; one that answers is enough. A node that is a member remembers the others and needs none.",
        |s, v| parse::each(v, parse::host_port).map(|seeds| s.node.mesh.join = seeds),
    ),
    one(
        "token_file",
        "path",
        "File with the token that `shoal token create` printed, for a node that joins; only its owner may read it. `--token` and the variable `SHOAL_TOKEN` come before it.",
        |s, v| {
            s.token_file = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    ),
    one(
        "zone",
        "label value",
        "Failure domain that the node stands in (a room, a building, a region), told to the others.",
        |s, v| parse::label_value(v).map(|zone| s.node.mesh.zone = zone),
    ),
    many(
        "mesh.advertise",
        "list of address:port",
        "Where others dial this node, best first; at most four. Empty: `address` with the port of `listen`.",
        |s, v| parse::advertised(v).map(|addresses| s.node.mesh.advertise = addresses),
    ),
    one(
        "mesh.certificate_lifetime",
        "duration",
        "How long a node's certificates are good for, 1m to 365d. A running node renews its own long before.",
        |s, v| parse::lifetime(v).map(|lifetime| s.node.mesh.certificate_lifetime = lifetime),
    ),
    one(
        "network.pod_cidr",
        "address range",
        "Pod addresses of this node, the first one being the bridge's. Empty: a part of `network.cluster_cidr`, assigned when the node joins; the founder has the first.",
        |s, v| {
            s.node.network.pod_cidr = if v.is_empty() { None } else { Some(parse::range(v, 30)?) };
            Ok(())
        },
    ),
    one("network.cluster_cidr", "address range", "Pod addresses of the cluster. The same on every node.", |s, v| {
        parse::range(v, 30).map(|cidr| s.node.network.cluster_cidr = cidr)
    }),
    one(
        "network.node_prefix",
        "number",
        "Prefix of the pod addresses that a node is assigned: 24 gives each 253 pods, and 256 nodes in a /16.",
        |s, v| parse::number(v, 8..=30).map(|prefix| s.node.network.node_prefix = prefix),
    ),
    one(
        "network.vxlan_port",
        "number",
        "UDP port of VXLAN, which carries pods' packets between nodes that share no link. The same on every node.",
        |s, v| parse::number(v, 1..=65_535).map(|port| s.node.network.vxlan_port = port),
    ),
    one(
        "network.service_cidr",
        "address range",
        "Service addresses of the cluster. The first one is the API's.",
        |s, v| parse::range(v, 30).map(|cidr| s.node.network.service_cidr = cidr),
    ),
    one(
        "network.bridge",
        "name of at most 15 bytes",
        "The bridge that pods are attached to. A second node on one machine needs its own.",
        |s, v| parse::device(v).map(|name| s.node.network.bridge = name),
    ),
    one(
        "network.table",
        "name",
        "The nftables table of the node (family `ip`). A second node on one machine needs its own.",
        |s, v| parse::identifier(v).map(|name| s.node.network.nft_table = name),
    ),
    one("network.mtu", "bytes", "MTU of pod interfaces. 0: that of the bridge's default, 1500.", |s, v| {
        parse::number(v, 0..=65_535).map(|mtu| s.node.network.mtu = mtu)
    }),
    one(
        "control.voters_max",
        "1, 3 or 5",
        "Most nodes that vote on writes. One votes in clusters of one or two nodes, three from three nodes on, five from seven on.",
        |s, v| parse::choice(v, &[("1", 1), ("3", 3), ("5", 5)]).map(|most| s.node.control.voters_max = most),
    ),
    one(
        "control.replace_after",
        "duration",
        "How long a voter is dead before another node votes instead, 1s to 24h.",
        |s, v| parse::within(v, SECOND, DAY).map(|wait| s.node.control.replace_after = wait),
    ),
    one(
        "control.declare_after",
        "duration",
        "Within which a node that has died is declared dead; decided after half of it without a sign of life. The same on every node, 1s to 1h.",
        |s, v| parse::within(v, SECOND, HOUR).map(|wait| s.node.control.declare_after = wait),
    ),
    one(
        "control.default_toleration",
        "duration",
        "How long pods that say nothing themselves stay on a node that is not ready or not reachable, in whole seconds, 0s to 24h. Kubernetes has 300s.",
        |s, v| parse::within(v, Duration::ZERO, DAY).map(|wait| s.node.control.default_toleration = wait),
    ),
    one(
        "control.slow_disk",
        "duration",
        "A leader whose disk takes longer than this for 99 of 100 syncs lets another voter lead, 10ms to 1m.",
        |s, v| {
            parse::within(v, Duration::from_millis(10), Duration::from_mins(1))
                .map(|bound| s.node.control.slow_disk = bound)
        },
    ),
    one("store.history", "duration", "How long old revisions can still be read and watched from.", |s, v| {
        parse::duration(v).map(|history| s.node.store.history = history)
    }),
    one(
        "store.snapshot_bytes",
        "size",
        "Size of the log after which the state is written as a whole and the log cut.",
        |s, v| parse::size(v).map(|bytes| s.node.store.snapshot_bytes = bytes),
    ),
    one(
        "backup.directory",
        "directory",
        "Where the node that leads writes backups of all objects, Secrets among them. Empty: none are made. The same on every node, best one that all share.",
        |s, v| {
            s.node.backup.directory = v.into();
            Ok(())
        },
    ),
    one("backup.every", "duration", "How often a backup is made, 1m to 365d.", |s, v| {
        parse::within(v, Duration::from_mins(1), DAY * 365).map(|every| s.node.backup.every = every)
    }),
    one("backup.keep", "number", "How many backups are kept; older ones are removed.", |s, v| {
        parse::number(v, 1..=10_000).map(|keep| s.node.backup.keep = keep)
    }),
    one(
        "api.max_in_flight",
        "number",
        "Requests that are worked on at once, watches and other streams not counted; further ones are told to come back (429).",
        |s, v| parse::number(v, 1..=1_000_000).map(|bound| s.node.api.max_in_flight = bound),
    ),
    one("agent.max_pods", "number", "Pods that fit on the node.", |s, v| {
        parse::number(v, 1..=10_000).map(|pods| s.node.agent.max_pods = pods)
    }),
    one("agent.parallel_pulls", "number", "Images that are pulled at once.", |s, v| {
        parse::number(v, 1..=100).map(|pulls| s.node.agent.parallel_pulls = pulls)
    }),
    many(
        "registries.insecure",
        "list of `host` or `host:port`",
        "Registries that are reached without TLS. Loopback addresses always are.",
        |s, v| {
            s.node.registries.insecure = v.to_vec();
            Ok(())
        },
    ),
];

/// The row of a key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The known name nearest to a mistaken one, where one is near.
pub fn nearest(mistaken: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|name| (distance(mistaken, &name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3))
        .min()
        .map(|(_, name)| name)
}

/// Insertions, removals and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
