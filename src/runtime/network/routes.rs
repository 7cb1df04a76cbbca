//! Ways to the pods of other nodes: the trait, and the real one over netlink. `plan::routes` decides, `netlink` reads and
//! changes; the fake is `hollow/routes.rs`.
//!
//! What is ours is known by two marks, so that a restarted process adopts it and nothing else is touched: the VXLAN device
//! by its name, routes by protocol [`PROTOCOL`] and a metric that follows from the bridge's name. Somebody else's route to
//! the same range stays, and wins where its metric is lower (as that of one made by hand without any is).

mod netlink;

use std::net::Ipv4Addr;

use async_trait::async_trait;
use rtnetlink::Handle;
use tokio::sync::Mutex;

use super::{Cidr, link, sysctl};
use crate::plan::routes::{self, Admitted, Change, Ground, Leg, Refused, Table, Way};
use crate::runtime::Error;
use netlink::{Kernel, Links};

pub use crate::plan::routes::{PeerRoute, Reason};

/// Who made our routes, as `ip route` shows it (`proto 83`); no other program is known to use this number.
pub const PROTOCOL: u8 = 83;
/// UDP port that IANA gives VXLAN (RFC 7348).
pub const VXLAN_PORT: u16 = 4789;
/// VXLAN network identifier where nothing else is said.
pub const VXLAN_ID: u32 = 0x53_484f;
/// Least metric of our routes.
const FIRST_METRIC: u32 = 1 << 10;
/// Metrics that are ours to choose from.
const METRICS: u64 = 1 << 16;
/// Longest name of a link (`IFNAMSIZ` without the final zero).
const MAX_NAME: usize = 15;

/// Leads to the pods of other nodes.
#[async_trait]
pub trait PodRoutes: Send + Sync + 'static {
    /// Brings the node's routes to exactly these peers. Repeating it changes nothing; call it when the peers change and now
    /// and then besides, since the kernel drops routes over a link that goes down. A peer that cannot be led to is in the
    /// report, and keeps none of the others away.
    ///
    /// # Errors
    /// Where the kernel cannot be read (nothing was changed), or refuses a change (all others were tried).
    async fn sync(&self, peers: &[PeerRoute]) -> Result<Report, Error>;
}

/// What a sync came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Peers reached on a link.
    pub direct: usize,
    /// Peers reached through the VXLAN device.
    pub tunnelled: usize,
    /// Peers not led to.
    pub refused: Vec<Refused>,
    /// What was changed; empty where all was as it should be.
    pub changes: Vec<Change>,
}

/// Names and ranges of one node's routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteOptions {
    /// The bridge of the node's pods: what names the VXLAN device and chooses the metric.
    pub bridge: String,
    /// Ranges, and how the VXLAN device is to be; the latter must be the same on every node.
    pub ground: Ground,
    /// Whether peers on a link of ours are reached without a tunnel. Not to be where the network between machines drops
    /// addresses that it did not give out, as some clouds do.
    pub direct: bool,
}

impl RouteOptions {
    /// The usual ones.
    pub fn new(bridge: &str, own: Cidr, cluster: Cidr) -> Self {
        let ground = Ground { own, cluster, vni: VXLAN_ID, port: VXLAN_PORT, mtu: 0 };
        Self { bridge: bridge.to_string(), ground, direct: true }
    }
}

/// The kernel's routes in the network namespace where it was started.
pub struct KernelRoutes {
    options: RouteOptions,
    kernel: Kernel,
    /// One sync at a time.
    turn: Mutex<()>,
}

impl KernelRoutes {
    /// Opens the way to the kernel; changes no route before the first sync. Call inside a tokio runtime, which must outlive
    /// the routes.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn start(options: RouteOptions) -> Result<Self, Error> {
        let kernel = kernel(link::connect()?, &options.bridge);
        sysctl::set("net/ipv4/ip_forward", "1")?;
        Ok(Self { options, kernel, turn: Mutex::default() })
    }

    async fn way(&self, links: &mut Links, address: Ipv4Addr) -> Result<Way, Error> {
        let way = self.kernel.way(links, address).await?;
        Ok(match way {
            Way::Link { mtu, .. } if !self.options.direct => Way::Routed { mtu },
            way => way,
        })
    }

    async fn ways(&self, admitted: Vec<Admitted>) -> Result<Vec<(Admitted, Way)>, Error> {
        let mut links = Links::default();
        let mut ways = Vec::with_capacity(admitted.len());
        for peer in admitted {
            let way = self.way(&mut links, peer.address).await?;
            ways.push((peer, way));
        }
        Ok(ways)
    }
}

#[async_trait]
impl PodRoutes for KernelRoutes {
    async fn sync(&self, peers: &[PeerRoute]) -> Result<Report, Error> {
        let _turn = self.turn.lock().await;
        let ground = &self.options.ground;
        let found = self.kernel.read().await?;
        let (admitted, mut refused) = routes::admit(ground, &found, peers);
        let (wanted, unreachable) = routes::wanted(ground, self.ways(admitted).await?);
        refused.extend(unreachable);
        let changes = routes::changes(&found, &wanted);
        self.kernel.carry_out(&changes).await?;
        Ok(report(&wanted, refused, changes))
    }
}

/// Removes all routes, and the VXLAN device, that a node with this bridge ever made.
///
/// # Errors
/// The first failure, after all else was tried.
pub(super) async fn destroy(host: &Handle, bridge: &str) -> Result<(), Error> {
    let kernel = kernel(host.clone(), bridge);
    let found = kernel.read().await?;
    kernel.carry_out(&routes::changes(&found, &Table::default())).await
}

/// Name of the VXLAN device beside a bridge: the bridge's and `.vx`, shortened with a hash where that is too long.
pub fn tunnel_name(bridge: &str) -> String {
    let full = format!("{bridge}.vx");
    if full.len() <= MAX_NAME {
        return full;
    }
    let start: String = bridge.chars().take_while(char::is_ascii).take(6).collect();
    format!("{start}{:06x}.vx", link::digest(bridge.bytes()) >> 40)
}

/// What a sync came to, when all changes are made.
pub(in crate::runtime) fn report(wanted: &Table, refused: Vec<Refused>, changes: Vec<Change>) -> Report {
    let tunnelled = wanted.routes.values().filter(|hop| hop.leg == Leg::Tunnel).count();
    Report { direct: wanted.routes.len().saturating_sub(tunnelled), tunnelled, refused, changes }
}

fn kernel(host: Handle, bridge: &str) -> Kernel {
    let offset = u32::try_from(link::digest(bridge.bytes()) % METRICS).unwrap_or(0);
    Kernel { host, device: tunnel_name(bridge), metric: FIRST_METRIC + offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_after_its_bridge_and_fits() {
        assert_eq!(tunnel_name("shoal0"), "shoal0.vx");
        assert_eq!(tunnel_name("twelve-bytes"), "twelve-bytes.vx");
        let (one, other) = (tunnel_name("fifteen-bytes-a"), tunnel_name("fifteen-bytes-b"));
        assert!(one.len() <= MAX_NAME && one.starts_with("fiftee") && one.ends_with(".vx"), "{one}");
        assert_ne!(one, other);
    }
}
