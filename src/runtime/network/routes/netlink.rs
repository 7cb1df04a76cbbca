//! The kernel's routes, neighbours and VXLAN device: reading what is ours, and making one change after the other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, LinkVxlan, RouteMessageBuilder};

use super::PROTOCOL;
use crate::model::Cidr;
use crate::plan::routes::{Change, Hop, Leg, Mac, Table, Tunnel, Way};
use crate::runtime::Error;
use crate::runtime::network::link::{self, allow, code, failed};
use crate::runtime::network::sysctl;

const ESRCH: i32 = nix::libc::ESRCH;
const ENOENT: i32 = nix::libc::ENOENT;
/// What a lookup says where no route or a negative one (unreachable, prohibit, blackhole) leads.
const NO_WAY: [i32; 4] = [nix::libc::ENETUNREACH, nix::libc::EHOSTUNREACH, nix::libc::EACCES, nix::libc::EINVAL];
/// Answers to packets that came through the device may leave over another link where only one side needs the tunnel.
const RP_FILTER_LOOSE: &str = "2";

/// What a sync has learned of links: bytes that they carry, and whether machines on them have hardware addresses.
pub type Links = BTreeMap<u32, (u32, bool)>;

/// One network namespace, and the marks of what is ours in it.
pub struct Kernel {
    /// A socket in it.
    pub host: Handle,
    /// Name of the VXLAN device.
    pub device: String,
    /// Metric of our routes.
    pub metric: u32,
}

impl Kernel {
    /// All that is ours.
    pub async fn read(&self) -> Result<Table, Error> {
        let device = link::find(&self.host, &self.device).await?;
        let mut table = Table::default();
        let index = device.as_ref().map(|device| device.header.index);
        if let (Some(device), Some(index)) = (&device, index) {
            table.tunnel = Some(self.tunnel(device, self.address(index).await?)?);
            table.neighbours = self.neighbours(index).await?;
            table.forwards = self.forwards(index).await?;
        }
        table.routes = self.routes(index).await?;
        Ok(table)
    }

    /// Makes the changes in their order; one that fails keeps no other away.
    pub async fn carry_out(&self, changes: &[Change]) -> Result<(), Error> {
        let mut outcome = Ok(());
        for change in changes {
            outcome = outcome.and(self.make(change).await);
        }
        outcome
    }

    /// The way to an address.
    pub async fn way(&self, links: &mut Links, address: Ipv4Addr) -> Result<Way, Error> {
        let question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
        let answer = match self.host.route().get(question).execute().try_next().await {
            Err(error) if NO_WAY.contains(&code(&error)) => None,
            answer => answer.map_err(|error| failed("look up the way to", &address.to_string(), &error))?,
        };
        let Some(route) = answer else { return Ok(Way::Nowhere) };
        match route.header.kind {
            RouteType::Local => return Ok(Way::Here),
            RouteType::Unicast => {}
            _ => return Ok(Way::Nowhere),
        }
        let Some(index) = interface(&route) else { return Ok(Way::Nowhere) };
        let (mtu, neighbours) = self.link(links, index).await?;
        let router =
            |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
        let beyond = route.attributes.iter().any(router) || !neighbours;
        Ok(if beyond { Way::Routed { mtu } } else { Way::Link { index, mtu } })
    }

    async fn link(&self, links: &mut Links, index: u32) -> Result<(u32, bool), Error> {
        if let Some(known) = links.get(&index) {
            return Ok(*known);
        }
        let found = self.host.link().get().match_index(index).execute().try_next().await;
        let link = found.map_err(|error| failed("look at link", &index.to_string(), &error))?.unwrap_or_default();
        let bare = LinkFlags::Noarp | LinkFlags::Pointopoint;
        let facts = (mtu(&link), !link.header.flags.intersects(bare));
        links.insert(index, facts);
        Ok(facts)
    }

    fn tunnel(&self, device: &LinkMessage, address: Option<Ipv4Addr>) -> Result<Tunnel, Error> {
        if link::kind(device) != Some(&InfoKind::Vxlan) {
            let name = &self.device;
            return Err(Error::System(format!("{name} is no VXLAN device; choose another name with network.bridge")));
        }
        let up = device.header.flags.contains(LinkFlags::Up);
        let mut tunnel = Tunnel { vni: 0, port: 0, mac: Mac::default(), learning: true, mtu: mtu(device), address, up };
        for attribute in &device.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => tunnel.mac = hardware_address(bytes).unwrap_or_default(),
                LinkAttribute::LinkInfo(items) => items.iter().for_each(|item| describe(&mut tunnel, item)),
                _ => {}
            }
        }
        Ok(tunnel)
    }

    async fn address(&self, index: u32) -> Result<Option<Ipv4Addr>, Error> {
        let question = self.host.address().get().set_link_index_filter(index);
        let messages: Vec<_> = question
            .execute()
            .try_collect()
            .await
            .map_err(|error| failed("list addresses of", &self.device, &error))?;
        let mut attributes = messages.into_iter().flat_map(|message| message.attributes);
        Ok(attributes.find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(address),
            _ => None,
        }))
    }

    async fn neighbours(&self, index: u32) -> Result<BTreeMap<Ipv4Addr, Mac>, Error> {
        let entries = self.entries(AddressFamily::Inet, index).await?;
        Ok(entries.iter().filter_map(|entry| Some((destination(entry)?, hardware_address_of(entry)?))).collect())
    }

    async fn forwards(&self, index: u32) -> Result<BTreeMap<Mac, Ipv4Addr>, Error> {
        let entries = self.entries(AddressFamily::Bridge, index).await?;
        Ok(entries.iter().filter_map(|entry| Some((hardware_address_of(entry)?, destination(entry)?))).collect())
    }

    /// Permanent entries of a link: what the kernel found out by itself is none of ours.
    async fn entries(&self, family: AddressFamily, index: u32) -> Result<Vec<NeighbourMessage>, Error> {
        let question = self.host.neighbours().get().set_address_family(family);
        let entries: Vec<_> = question
            .execute()
            .try_collect()
            .await
            .map_err(|error| failed("list neighbours of", &self.device, &error))?;
        let ours = |entry: &NeighbourMessage| {
            entry.header.ifindex == index && matches!(entry.header.state, NeighbourState::Permanent)
        };
        Ok(entries.into_iter().filter(ours).collect())
    }

    async fn routes(&self, device: Option<u32>) -> Result<BTreeMap<Cidr, Hop>, Error> {
        let question = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<RouteMessage> = self
            .host
            .route()
            .get(question)
            .execute()
            .try_collect()
            .await
            .map_err(|error| failed("list routes to", "pods", &error))?;
        let ours = |route: &&RouteMessage| {
            route.header.protocol == RouteProtocol::Other(PROTOCOL)
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && route.attributes.contains(&RouteAttribute::Priority(self.metric))
        };
        Ok(routes.iter().filter(ours).filter_map(|route| hop(route, device)).collect())
    }

    async fn make(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::MakeTunnel(tunnel) => self.make_tunnel(tunnel).await,
            Change::AdjustTunnel(tunnel) => self.adjust(tunnel).await,
            Change::RemoveTunnel => link::remove(&self.host, &self.device).await,
            Change::Forward(mac, peer) => self.forward(mac, *peer).await,
            Change::Neighbour(end, mac) => self.neighbour(*end, mac).await,
            Change::Route(range, hop) => {
                let made = self.host.route().add(self.route(*range, *hop).await?).replace().execute().await;
                made.map_err(|error| failed("add the route to", &range.to_string(), &error))
            }
            Change::RemoveRoute(range, hop) => {
                let removed = self.host.route().del(self.route(*range, *hop).await?).execute().await;
                allow(ESRCH, removed).map_err(|error| failed("remove the route to", &range.to_string(), &error))
            }
            Change::RemoveNeighbour(end, mac) => self.forget(AddressFamily::Inet, *end, mac).await,
            Change::RemoveForward(mac, peer) => self.forget(AddressFamily::Bridge, *peer, mac).await,
        }
    }

    async fn make_tunnel(&self, tunnel: &Tunnel) -> Result<(), Error> {
        let device = LinkVxlan::new(&self.device, tunnel.vni).port(tunnel.port).learning(tunnel.learning);
        let device = device.address(tunnel.mac.to_vec()).mtu(tunnel.mtu).build();
        self.host.link().add(device).execute().await.map_err(|error| match code(&error) {
            nix::libc::EEXIST => Error::System(format!(
                "cannot make {}: another VXLAN device has network {} on port {}",
                self.device, tunnel.vni, tunnel.port
            )),
            nix::libc::EOPNOTSUPP => Error::System(format!("cannot make {}: no CONFIG_VXLAN", self.device)),
            _ => failed("make VXLAN device", &self.device, &error),
        })?;
        sysctl::set(&format!("net/ipv4/conf/{}/rp_filter", self.device), RP_FILTER_LOOSE)?;
        self.adjust(tunnel).await
    }

    async fn adjust(&self, tunnel: &Tunnel) -> Result<(), Error> {
        let index = self.device().await?;
        if let Some(address) = tunnel.address {
            // One address only, as /32: the range itself is on the bridge.
            let added = self.host.address().add(index, IpAddr::V4(address), 32).execute().await;
            allow(nix::libc::EEXIST, added).map_err(|error| failed("give an address to", &self.device, &error))?;
        }
        let change = LinkUnspec::new_with_index(index).mtu(tunnel.mtu).up().build();
        self.host.link().set(change).execute().await.map_err(|error| failed("bring up", &self.device, &error))
    }

    async fn forward(&self, mac: &Mac, peer: Ipv4Addr) -> Result<(), Error> {
        let entry = self.host.neighbours().add_bridge(self.device().await?, mac);
        let made = entry.destination(IpAddr::V4(peer)).flags(NeighbourFlags::Own).replace().execute().await;
        made.map_err(|error| failed("lead the tunnel to", &peer.to_string(), &error))
    }

    async fn neighbour(&self, end: Ipv4Addr, mac: &Mac) -> Result<(), Error> {
        let entry = self.host.neighbours().add(self.device().await?, IpAddr::V4(end));
        let made = entry.link_layer_address(mac).replace().execute().await;
        made.map_err(|error| failed("add the neighbour", &end.to_string(), &error))
    }

    async fn forget(&self, family: AddressFamily, address: Ipv4Addr, mac: &Mac) -> Result<(), Error> {
        let mut entry = NeighbourMessage::default();
        entry.header.family = family;
        entry.header.ifindex = self.device().await?;
        if family == AddressFamily::Bridge {
            entry.header.flags = NeighbourFlags::Own;
            entry.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        }
        entry.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        let removed = self.host.neighbours().del(entry).execute().await;
        allow(ENOENT, removed).map_err(|error| failed("forget the neighbour", &address.to_string(), &error))
    }

    async fn route(&self, range: Cidr, hop: Hop) -> Result<RouteMessage, Error> {
        let IpAddr::V4(network) = range.network() else {
            return Err(Error::System(format!("cannot lead to {range}: not IPv4")));
        };
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network, range.prefix())
            .gateway(hop.via)
            .protocol(RouteProtocol::Other(PROTOCOL))
            .priority(self.metric);
        Ok(match hop.leg {
            Leg::Link(index) => route.output_interface(index).build(),
            Leg::Tunnel => route.output_interface(self.device().await?).onlink().build(),
        })
    }

    async fn device(&self) -> Result<u32, Error> {
        let device = link::find(&self.host, &self.device).await?;
        device
            .map(|device| device.header.index)
            .ok_or_else(|| Error::System(format!("link {} has vanished", self.device)))
    }
}

fn describe(tunnel: &mut Tunnel, item: &LinkInfo) {
    let LinkInfo::Data(InfoData::Vxlan(facts)) = item else { return };
    for fact in facts {
        match fact {
            InfoVxlan::Id(vni) => tunnel.vni = *vni,
            InfoVxlan::Port(port) => tunnel.port = *port,
            InfoVxlan::Learning(learning) => tunnel.learning = *learning,
            _ => {}
        }
    }
}

fn mtu(link: &LinkMessage) -> u32 {
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    mtu.unwrap_or_default()
}

fn interface(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn hop(route: &RouteMessage, device: Option<u32>) -> Option<(Cidr, Hop)> {
    let (mut range, mut via) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => range = Some(*address),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => via = Some(*address),
            _ => {}
        }
    }
    let index = interface(route)?;
    let leg = if Some(index) == device { Leg::Tunnel } else { Leg::Link(index) };
    let range = Cidr::new(IpAddr::V4(range?), route.header.destination_prefix_length)?;
    Some((range, Hop { via: via?, leg }))
}

fn hardware_address(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok()
}

fn hardware_address_of(entry: &NeighbourMessage) -> Option<Mac> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => hardware_address(bytes),
        _ => None,
    })
}

/// Of a bridge's entries the kernel says the address, but not the address' family.
fn destination(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from)
        }
        _ => None,
    })
}
