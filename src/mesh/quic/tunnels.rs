//! Tunnels: peers under virtual addresses, whose packets other nodes carry instead of the socket.
//!
//! A virtual address is one of `0.0.0.0/8`, which no host has (RFC 6890), given out by this endpoint to a peer while a
//! tunnel to it is open; it means nothing to anybody else.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Context;

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use quinn::udp::RecvMeta;
use tokio::sync::Notify;

use super::channel::Registry;
use super::counters::{Counters, Event};
use crate::mesh::fabric::{Channel as _, Close, Tunnel};
use crate::model::NodeId;

/// Most tunnels of a node, at either end.
pub const MAX_TUNNELS: usize = 256;
/// Most tunnels to one peer; the one attached last is used.
const MAX_OF_PEER: usize = 4;
/// Bytes that wait for one tunnel to carry them; a packet beyond is dropped.
pub const MAX_QUEUED_BYTES: usize = 256 << 10;
/// Bytes from all tunnels that wait for QUIC to look at them; a packet beyond is dropped.
const MAX_ARRIVED_BYTES: usize = 2 << 20;
/// Addresses that are given out.
const HOSTS: u32 = 0x00ff_ffff;
/// QUIC dials no port 0.
const PORT: u16 = 1;

/// The virtual address, where it is one.
pub fn virtual_address(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) if address.to_bits() <= HOSTS && !address.is_unspecified() => Some(address),
        _ => None,
    }
}

/// The tunnels of an endpoint.
pub struct Tunnels {
    open: Mutex<Open>,
    arrived: Mutex<Arrived>,
    waker: AtomicWaker,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Open {
    last: u32,
    addresses: BTreeMap<NodeId, Ipv4Addr>,
    routes: BTreeMap<Ipv4Addr, Vec<Arc<Route>>>,
}

#[derive(Default)]
struct Arrived {
    packets: VecDeque<(Ipv4Addr, Bytes)>,
    bytes: usize,
}

/// What waits for one tunnel.
struct Route {
    peer: NodeId,
    address: Ipv4Addr,
    queue: Mutex<BytesMut>,
    filled: Notify,
}

impl Tunnels {
    /// None yet.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { open: Mutex::default(), arrived: Mutex::default(), waker: AtomicWaker::new(), counters }
    }

    fn attach(&self, peer: &NodeId) -> Option<Arc<Route>> {
        let mut open = self.open.lock();
        let total: usize = open.routes.values().map(Vec::len).sum();
        let address = open.address_of(peer);
        let of_peer = open.routes.get(&address).map_or(0, Vec::len);
        if total >= MAX_TUNNELS || of_peer >= MAX_OF_PEER {
            return None;
        }
        let route = Route { peer: peer.clone(), address, queue: Mutex::default(), filled: Notify::new() };
        let route = Arc::new(route);
        open.addresses.insert(peer.clone(), address);
        open.routes.entry(address).or_default().push(route.clone());
        Some(route)
    }

    /// Whether it was the last to its peer.
    fn detach(&self, route: &Arc<Route>) -> bool {
        let mut open = self.open.lock();
        let Some(routes) = open.routes.get_mut(&route.address) else { return false };
        routes.retain(|other| !Arc::ptr_eq(other, route));
        let last = routes.is_empty();
        if last {
            open.routes.remove(&route.address);
            open.addresses.remove(&route.peer);
        }
        last
    }

    /// Puts packets, one or several of `segment` bytes, into the queue of the tunnel to `peer`.
    pub fn carry(&self, peer: Ipv4Addr, contents: &[u8], segment: Option<usize>) {
        let route = self.open.lock().routes.get(&peer).and_then(|routes| routes.last().cloned());
        let Some(route) = route else { return self.counters.add(Event::TunnelShed) };
        let mut queue = route.queue.lock();
        for packet in contents.chunks(segment.unwrap_or(contents.len()).max(1)) {
            match u16::try_from(packet.len()) {
                Ok(length) if queue.len() + packet.len() < MAX_QUEUED_BYTES => {
                    queue.put_u16(length);
                    queue.put_slice(packet);
                }
                _ => self.counters.add(Event::TunnelShed),
            }
        }
        drop(queue);
        route.filled.notify_one();
    }

    fn arrive(&self, from: Ipv4Addr, packet: &[u8]) {
        let mut arrived = self.arrived.lock();
        if packet.is_empty() || arrived.bytes + packet.len() > MAX_ARRIVED_BYTES {
            return self.counters.add(Event::TunnelShed);
        }
        arrived.bytes += packet.len();
        arrived.packets.push_back((from, Bytes::copy_from_slice(packet)));
        drop(arrived);
        self.waker.wake();
    }

    /// Gives packets from tunnels to QUIC, in at most half of the buffers so that the socket has its turn; their number.
    /// Where there are none the task is woken once there are.
    pub fn take(
        &self,
        cx: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        mapped: bool,
    ) -> usize {
        self.waker.register(cx.waker());
        let mut arrived = self.arrived.lock();
        let limit = bufs.len().div_ceil(2);
        let mut taken = 0;
        while taken < limit {
            let (Some(buf), Some(meta)) = (bufs.get_mut(taken), meta.get_mut(taken)) else { break };
            let Some((from, packet)) = arrived.packets.pop_front() else { break };
            arrived.bytes -= packet.len();
            let Some(room) = buf.get_mut(..packet.len()) else {
                self.counters.add(Event::TunnelShed);
                continue;
            };
            room.copy_from_slice(&packet);
            let ip = if mapped { from.to_ipv6_mapped().into() } else { from.into() };
            let (addr, len) = (SocketAddr::new(ip, PORT), packet.len());
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            taken += 1;
        }
        taken
    }
}

impl Open {
    /// The peer's address, or a free one: there are far more than tunnels.
    fn address_of(&mut self, peer: &NodeId) -> Ipv4Addr {
        if let Some(address) = self.addresses.get(peer) {
            return *address;
        }
        loop {
            self.last = self.last % HOSTS + 1;
            let address = Ipv4Addr::from_bits(self.last);
            if !self.routes.contains_key(&address) {
                return address;
            }
        }
    }
}

/// A tunnel of an endpoint.
pub struct QuicTunnel {
    tunnels: Arc<Tunnels>,
    registry: Arc<Registry>,
    route: Arc<Route>,
}

impl QuicTunnel {
    /// A further tunnel to `peer`, used from now on; `None` where there are too many.
    pub fn attach(tunnels: &Arc<Tunnels>, registry: &Arc<Registry>, peer: &NodeId) -> Option<Self> {
        let route = tunnels.attach(peer)?;
        Some(Self { tunnels: tunnels.clone(), registry: registry.clone(), route })
    }
}

#[async_trait]
impl Tunnel for QuicTunnel {
    fn at(&self) -> SocketAddr {
        SocketAddr::new(self.route.address.into(), PORT)
    }

    async fn outgoing(&self, frames: &mut BytesMut) {
        loop {
            {
                let mut queue = self.route.queue.lock();
                if !queue.is_empty() {
                    frames.clear();
                    return std::mem::swap(&mut *queue, frames);
                }
            }
            self.route.filled.notified().await;
        }
    }

    fn incoming(&self, packet: &[u8]) {
        self.tunnels.arrive(self.route.address, packet);
    }
}

impl Drop for QuicTunnel {
    fn drop(&mut self) {
        if !self.tunnels.detach(&self.route) {
            return;
        }
        for channel in self.registry.open() {
            if channel.remote() == self.at() {
                channel.close(Close::Idle);
            }
        }
    }
}
