//! How a node reaches the pods of other nodes: which peers are believed, what the kernel should hold for them, and what to
//! change in what it holds.
//!
//! Pods of a peer on a link of ours are reached through the peer's own address; those of any other peer through one VXLAN
//! device, whose entries all follow from the peer's pod range (as flannel's do), so that nothing has to be agreed on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::model::Cidr;

/// Most peers that are led to; the cluster's size that the project measures. Further ones (by name) are refused.
pub const MAX_PEERS: usize = 10_000;
/// Bytes that VXLAN adds to a packet over IPv4: outer IP 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348).
pub const VXLAN_OVERHEAD: u32 = 50;
/// Least bytes of a packet on the device: what every IPv4 host must take (RFC 791).
const MIN_MTU: u32 = 576;
/// Longest prefix of a node's pods: room for network, gateway, one pod and broadcast.
const MAX_PREFIX: u8 = 30;

/// Hardware address.
pub type Mac = [u8; 6];

/// A peer's pods and where they are to be found, as gossip tells it: not to be believed blindly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerRoute {
    /// The peer's name.
    pub node: String,
    /// Address by which this node reaches it.
    pub address: IpAddr,
    /// Addresses of its pods.
    pub pod_cidr: Cidr,
}

/// A peer that is not led to, while the others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was asked for.
    pub peer: PeerRoute,
    /// Why not.
    pub reason: Reason,
}

/// Why a peer is not led to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The pod network is IPv4, and so is what carries it.
    #[error("its pods or its address are not IPv4")]
    Family,
    /// The range has no room for a pod.
    #[error("its pod range is narrower than /30")]
    Narrow,
    /// The range is not (wholly) in the cluster's, so that it could draw in what is no pod traffic.
    #[error("its pod range is not within the cluster's")]
    OutsideCluster,
    /// The range shares addresses with this node's pods.
    #[error("its pod range overlaps this node's")]
    OverlapsOwn,
    /// The range shares addresses with another peer's pods, which has the route already or comes first by name.
    #[error("its pod range overlaps that of {0}")]
    OverlapsPeer(String),
    /// Nobody can be reached there: unspecified, loopback, link-wide or for many.
    #[error("its address is not one of a single machine")]
    Address,
    /// The address is in the cluster's pod range: the way to it would lead through itself.
    #[error("its address is among those of pods")]
    AddressOfPod,
    /// The address is this machine's: the kernel knows the way to those pods without us.
    #[error("its address is this machine's own")]
    ThisMachine,
    /// The kernel knows no way to the address.
    #[error("there is no route to its address")]
    Unreachable,
    /// More peers than [`MAX_PEERS`].
    #[error("there are more than {MAX_PEERS} peers")]
    TooMany,
}

/// A peer whose words are sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// As it was told.
    pub peer: PeerRoute,
    /// Its address.
    pub address: Ipv4Addr,
    /// First address of its pod range: its end of the tunnel.
    pub endpoint: Ipv4Addr,
}

/// What the kernel says of the way to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is on a link (by index) that carries packets of `mtu` bytes.
    Link {
        /// The link's index.
        index: u32,
        /// Bytes.
        mtu: u32,
    },
    /// A router is between, or a link without hardware addresses.
    Routed {
        /// Bytes that the first link carries.
        mtu: u32,
    },
    /// It is this machine.
    Here,
    /// None.
    Nowhere,
}

/// What does not change while a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Addresses of this node's pods.
    pub own: Cidr,
    /// Addresses of all pods.
    pub cluster: Cidr,
    /// VXLAN network identifier, 24 bits; the same on every node.
    pub vni: u32,
    /// UDP port of VXLAN; the same on every node.
    pub port: u16,
    /// Bytes that the VXLAN device carries; 0 for what the links beneath it leave.
    pub mtu: u32,
}

/// What the kernel holds for us, or should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The VXLAN device; `None` where nobody is reached through it.
    pub tunnel: Option<Tunnel>,
    /// By pod range.
    pub routes: BTreeMap<Cidr, Hop>,
    /// On the VXLAN device: hardware addresses of the peers' ends.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
    /// On the VXLAN device: the peer behind a hardware address.
    pub forwards: BTreeMap<Mac, Ipv4Addr>,
}

/// A VXLAN device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Hardware address.
    pub mac: Mac,
    /// Whether it believes what it hears of who is where; must not.
    pub learning: bool,
    /// Bytes.
    pub mtu: u32,
    /// Its address, which this machine has when it speaks to pods beyond; `None` where it has none yet.
    pub address: Option<Ipv4Addr>,
    /// Whether it is up.
    pub up: bool,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The gateway: the peer's address, or its end of the tunnel.
    pub via: Ipv4Addr,
    /// Over what.
    pub leg: Leg,
}

/// What a route goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// A link of the machine, by index.
    Link(u32),
    /// The VXLAN device.
    Tunnel,
}

/// One change of the kernel's state, to be made in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make the VXLAN device.
    MakeTunnel(Tunnel),
    /// Set size, address and state of the VXLAN device.
    AdjustTunnel(Tunnel),
    /// Remove the VXLAN device, with all that goes over it.
    RemoveTunnel,
    /// Say which peer is behind a hardware address, whatever was said before.
    Forward(Mac, Ipv4Addr),
    /// Say which hardware address a peer's end has.
    Neighbour(Ipv4Addr, Mac),
    /// Lead a range somewhere, wherever it led.
    Route(Cidr, Hop),
    /// Take a route away.
    RemoveRoute(Cidr, Hop),
    /// Forget an end's hardware address.
    RemoveNeighbour(Ipv4Addr, Mac),
    /// Forget who is behind a hardware address.
    RemoveForward(Mac, Ipv4Addr),
}

/// Sorts out whom to believe. Where two overlap, the one that `found` leads to already stays, else the first by name: so a
/// newcomer takes nothing from anybody. The same peer told twice counts once.
pub fn admit(ground: &Ground, found: &Table, peers: &[PeerRoute]) -> (Vec<Admitted>, Vec<Refused>) {
    let held = found.held();
    let newcomer = |peer: &PeerRoute| !held.contains(&(peer.pod_cidr, peer.address));
    let mut told: Vec<_> = peers.iter().collect::<BTreeSet<_>>().into_iter().collect();
    told.sort_by_key(|peer| newcomer(peer));
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    let mut ranges: BTreeMap<Cidr, &str> = BTreeMap::new();
    for peer in told {
        let sound = if admitted.len() < MAX_PEERS { sound(ground, peer) } else { Err(Reason::TooMany) };
        let alone = sound.and_then(|sound| match overlapping(&ranges, peer.pod_cidr) {
            Some(other) => Err(Reason::OverlapsPeer(other.to_string())),
            None => Ok(sound),
        });
        match alone {
            Ok(sound) => {
                ranges.insert(peer.pod_cidr, &peer.node);
                admitted.push(sound);
            }
            Err(reason) => refused.push(Refused { peer: peer.clone(), reason }),
        }
    }
    (admitted, refused)
}

/// What the kernel should hold, given the way to each peer; and those to whom there is none.
pub fn wanted(ground: &Ground, peers: Vec<(Admitted, Way)>) -> (Table, Vec<Refused>) {
    let (mut table, mut refused) = (Table::default(), Vec::new());
    let mut carried = None;
    for (Admitted { peer, address, endpoint }, way) in peers {
        let hop = match way {
            Way::Link { index, .. } => Hop { via: address, leg: Leg::Link(index) },
            Way::Routed { mtu } => {
                carried = Some(carried.map_or(mtu, |least: u32| least.min(mtu)));
                table.neighbours.insert(endpoint, mac(endpoint));
                table.forwards.insert(mac(endpoint), address);
                Hop { via: endpoint, leg: Leg::Tunnel }
            }
            Way::Here | Way::Nowhere => {
                let reason = if way == Way::Here { Reason::ThisMachine } else { Reason::Unreachable };
                refused.push(Refused { peer, reason });
                continue;
            }
        };
        table.routes.insert(peer.pod_cidr, hop);
    }
    table.tunnel = carried.and_then(|mtu| tunnel(ground, mtu));
    (table, refused)
}

/// What leads from `found` to `wanted`; nothing where they are the same. What is needed is made before what is not is
/// removed, so that traffic which may flow on does.
pub fn changes(found: &Table, wanted: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut found = found.clone();
    match (&found.tunnel, &wanted.tunnel) {
        (None, Some(tunnel)) => changes.push(Change::MakeTunnel(tunnel.clone())),
        (Some(old), Some(new)) if !old.may_become(new) => {
            changes.extend([Change::RemoveTunnel, Change::MakeTunnel(new.clone())]);
            found.lose_tunnel();
        }
        (Some(old), Some(new)) if old != new => changes.push(Change::AdjustTunnel(new.clone())),
        _ => {}
    }
    changes.extend(missing(&found.forwards, &wanted.forwards).map(|(mac, peer)| Change::Forward(mac, peer)));
    changes.extend(missing(&found.neighbours, &wanted.neighbours).map(|(end, mac)| Change::Neighbour(end, mac)));
    changes.extend(missing(&found.routes, &wanted.routes).map(|(range, hop)| Change::Route(range, hop)));
    if found.tunnel.is_some() && wanted.tunnel.is_none() {
        changes.push(Change::RemoveTunnel);
        found.lose_tunnel();
    }
    let unwanted_routes = unwanted(&found.routes, &wanted.routes);
    changes.extend(unwanted_routes.map(|(range, hop)| Change::RemoveRoute(range, hop)));
    let unwanted_ends = unwanted(&found.neighbours, &wanted.neighbours);
    changes.extend(unwanted_ends.map(|(end, mac)| Change::RemoveNeighbour(end, mac)));
    changes.extend(unwanted(&found.forwards, &wanted.forwards).map(|(mac, peer)| Change::RemoveForward(mac, peer)));
    changes
}

/// A locally administered hardware address that follows from an IPv4 address: `0a:58` and its bytes.
pub fn mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

impl Table {
    /// Which range is led to which peer.
    fn held(&self) -> BTreeSet<(Cidr, IpAddr)> {
        let peer = |hop: &Hop| match hop.leg {
            Leg::Link(_) => Some(hop.via),
            Leg::Tunnel => self.neighbours.get(&hop.via).and_then(|mac| self.forwards.get(mac)).copied(),
        };
        self.routes.iter().filter_map(|(range, hop)| Some((*range, IpAddr::V4(peer(hop)?)))).collect()
    }

    fn lose_tunnel(&mut self) {
        self.tunnel = None;
        self.neighbours.clear();
        self.forwards.clear();
        self.routes.retain(|_, hop| hop.leg != Leg::Tunnel);
    }
}

impl Tunnel {
    /// Whether the kernel can change the device into `other` without making it anew.
    fn may_become(&self, other: &Self) -> bool {
        (self.vni, self.port, self.mac, self.learning) == (other.vni, other.port, other.mac, other.learning)
    }
}

fn tunnel(ground: &Ground, carried: u32) -> Option<Tunnel> {
    let IpAddr::V4(address) = ground.own.network() else { return None };
    let mtu = if ground.mtu > 0 { ground.mtu } else { carried.saturating_sub(VXLAN_OVERHEAD).max(MIN_MTU) };
    let (vni, port, mac) = (ground.vni, ground.port, mac(address));
    Some(Tunnel { vni, port, mac, learning: false, mtu, address: Some(address), up: true })
}

fn sound(ground: &Ground, peer: &PeerRoute) -> Result<Admitted, Reason> {
    let (IpAddr::V4(address), IpAddr::V4(endpoint)) = (peer.address, peer.pod_cidr.network()) else {
        return Err(Reason::Family);
    };
    if ground.own.overlaps(peer.pod_cidr) {
        return Err(Reason::OverlapsOwn);
    }
    if !ground.cluster.covers(peer.pod_cidr) {
        return Err(Reason::OutsideCluster);
    }
    if peer.pod_cidr.prefix() > MAX_PREFIX {
        return Err(Reason::Narrow);
    }
    // 0.0.0.0/8 is "this network", 240.0.0.0/4 reserved.
    let [first, ..] = address.octets();
    if first == 0 || first >= 240 || address.is_loopback() || address.is_multicast() {
        return Err(Reason::Address);
    }
    if ground.cluster.contains(peer.address) || ground.own.contains(peer.address) {
        return Err(Reason::AddressOfPod);
    }
    Ok(Admitted { peer: peer.clone(), address, endpoint })
}

/// Who of the disjoint `ranges` overlaps `range`: only its neighbours in order can.
fn overlapping<'a>(ranges: &BTreeMap<Cidr, &'a str>, range: Cidr) -> Option<&'a str> {
    let near = ranges.range(..=range).next_back().into_iter().chain(ranges.range(range..).next());
    near.into_iter().find(|(other, _)| other.overlaps(range)).map(|(_, node)| *node)
}

fn missing<K: Ord + Copy, V: PartialEq + Copy>(
    found: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> impl Iterator<Item = (K, V)> {
    wanted.iter().filter(|(key, value)| found.get(*key) != Some(*value)).map(|(key, value)| (*key, *value))
}

fn unwanted<K: Ord + Copy, V: Copy>(found: &BTreeMap<K, V>, wanted: &BTreeMap<K, V>) -> impl Iterator<Item = (K, V)> {
    found.iter().filter(|(key, _)| !wanted.contains_key(*key)).map(|(key, value)| (*key, *value))
}

#[cfg(test)]
mod tests;
