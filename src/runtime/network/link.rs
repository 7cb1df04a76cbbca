//! Links, addresses and routes, by netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::Cidr;
use crate::runtime::Error;

/// The pod's interface inside.
const INSIDE: &str = "eth0";
const EEXIST: i32 = nix::libc::EEXIST;
const ENODEV: i32 = nix::libc::ENODEV;
const EADDRNOTAVAIL: i32 = nix::libc::EADDRNOTAVAIL;

/// What one pod's pair of links needs.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Name outside; at most 15 bytes.
    pub outside: String,
    /// Index of the bridge.
    pub bridge: u32,
    /// The pod's address.
    pub address: IpAddr,
    /// Bits of the network that it is in.
    pub prefix: u8,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// Bytes; 0 for the kernel's default.
    pub mtu: u32,
}

/// Opens a socket in the network namespace of the calling thread.
///
/// # Errors
/// Where the kernel refuses.
pub fn connect() -> Result<Handle, Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| Error::System(format!("cannot open a netlink socket: {error}")))?;
    // Ends by itself when the last handle is dropped.
    tokio::spawn(connection);
    Ok(handle)
}

/// Makes the bridge (or finds it), gives it its address and brings it up; answers its index.
///
/// # Errors
/// Where the name belongs to something else, or the kernel refuses.
pub async fn ensure_bridge(host: &Handle, name: &str, gateway: IpAddr, pods: Cidr, mtu: u32) -> Result<u32, Error> {
    // A fixed address: otherwise the bridge takes that of a port, and changes it as pods come and go.
    let made = host.link().add(LinkBridge::new(name).address(hardware_address(gateway)).build()).execute().await;
    allow(EEXIST, made).map_err(|error| failed("make bridge", name, &error))?;
    let link = find(host, name).await?.ok_or_else(|| Error::System(format!("bridge {name} has vanished")))?;
    if kind(&link) != Some(&InfoKind::Bridge) {
        return Err(Error::System(format!("{name} is not a bridge; choose another name with network.bridge")));
    }
    let index = link.header.index;
    let address = host.address().add(index, gateway, pods.prefix()).execute().await;
    allow(EEXIST, address).map_err(|error| failed("give an address to", name, &error))?;
    let mut change = LinkUnspec::new_with_index(index).up();
    if mtu > 0 {
        change = change.mtu(mtu);
    }
    host.link().set(change.build()).execute().await.map_err(|error| failed("bring up", name, &error))?;
    Ok(index)
}

/// Connects the network namespace of the calling thread (`pod` is a socket in it) to the bridge outside.
///
/// # Errors
/// Where the kernel refuses; what was made goes with the namespace.
pub async fn join(host: &Handle, pod: &Handle, pair: &Pair) -> Result<(), Error> {
    let here = std::fs::File::open("/proc/thread-self/ns/net")
        .map_err(|error| Error::System(format!("cannot open the pod's namespace: {error}")))?;
    let mut inside = LinkMessageBuilder::<LinkUnspec>::new().name(INSIDE.to_string()).setns_by_fd(here.as_raw_fd());
    let mut outside = LinkVeth::new(&pair.outside, INSIDE).controller(pair.bridge).up();
    if pair.mtu > 0 {
        inside = inside.mtu(pair.mtu);
        outside = outside.mtu(pair.mtu);
    }
    let outside = outside.set_info_data(InfoData::Veth(InfoVeth::Peer(inside.build())));
    host.link().add(outside.build()).execute().await.map_err(|error| failed("make link", &pair.outside, &error))?;
    let port = find(host, &pair.outside).await?.map_or(0, |link| link.header.index);
    // A pod may reach itself through a host port; where br_netfilter is on, such a frame goes back to its own port.
    let hairpin = host.link().set_port(LinkBridgePort::new(port).hairpin(true).build()).execute().await;
    hairpin.map_err(|error| failed("set up bridge port", &pair.outside, &error))?;
    raise_loopback(pod).await?;
    let link = find(pod, INSIDE).await?.ok_or_else(|| Error::System(format!("link {INSIDE} has vanished")))?;
    let index = link.header.index;
    let up = LinkUnspec::new_with_index(index).up().build();
    pod.link().set(up).execute().await.map_err(|error| failed("bring up", INSIDE, &error))?;
    let address = pod.address().add(index, pair.address, pair.prefix).execute().await;
    address.map_err(|error| failed("give an address to", INSIDE, &error))?;
    default_route(pod, pair.gateway).await
}

/// Brings up `lo` in the namespace of `pod`.
///
/// # Errors
/// Where the kernel refuses.
pub async fn raise_loopback(pod: &Handle) -> Result<(), Error> {
    let up = LinkUnspec::new_with_name("lo").up().build();
    pod.link().set(up).execute().await.map_err(|error| failed("bring up", "lo", &error))
}

/// Removes a link and waits until it is gone. One that is not there is fine.
///
/// # Errors
/// Where the kernel refuses.
pub async fn remove(host: &Handle, name: &str) -> Result<(), Error> {
    let Some(link) = find(host, name).await? else { return Ok(()) };
    let removed = host.link().del(link.header.index).execute().await;
    allow(ENODEV, removed).map_err(|error| failed("remove link", name, &error))
}

/// The link of a name; `None` where there is none.
///
/// # Errors
/// Where the kernel refuses.
pub async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, Error> {
    let found = handle.link().get().match_name(name.to_string()).execute().try_next().await;
    match found {
        Ok(link) => Ok(link),
        Err(error) if code(&error) == ENODEV => Ok(None),
        Err(error) => Err(failed("look for link", name, &error)),
    }
}

async fn default_route(pod: &Handle, gateway: IpAddr) -> Result<(), Error> {
    let message = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
    };
    let added = pod.route().add(message).execute().await;
    allow(EEXIST, added).map_err(|error| failed("add the route over", &gateway.to_string(), &error))
}

/// A hash (FNV-1a) that is the same in every process.
pub(super) fn digest(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A locally administered address that follows from the IP address.
fn hardware_address(address: IpAddr) -> Vec<u8> {
    let mut bytes = vec![0x0a, 0x58];
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets().iter().skip(12)),
    }
    bytes
}

/// What kind of link it is; `None` for a physical one.
pub(super) fn kind(link: &LinkMessage) -> Option<&InfoKind> {
    let info = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    });
    info?.iter().find_map(|item| match item {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

/// Takes one of the system's error numbers for success.
pub(super) fn allow(wanted: i32, outcome: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match outcome {
        Err(error) if code(&error) == wanted => Ok(()),
        other => other,
    }
}

/// The system's error number, positive; 0 where there is none.
pub(super) fn code(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code().saturating_abs(),
        _ => 0,
    }
}

/// The error as the user reads it.
pub(super) fn failed(action: &str, what: &str, error: &rtnetlink::Error) -> Error {
    let reason = match error {
        rtnetlink::Error::NetlinkError(_) => std::io::Error::from_raw_os_error(code(error)).to_string(),
        other => other.to_string(),
    };
    let advice = match code(error) {
        nix::libc::EPERM => " (needs root)",
        nix::libc::EOPNOTSUPP => " (the kernel needs CONFIG_BRIDGE and CONFIG_VETH)",
        EADDRNOTAVAIL => " (the address does not fit the interface)",
        _ => "",
    };
    Error::System(format!("cannot {action} {what}: {reason}{advice}"))
}
