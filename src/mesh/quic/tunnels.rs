//! Tunnels: peers under virtual addresses, whose packets other nodes carry instead of the socket.
//!
//! A virtual address is one of `0.0.0.0/8`, which no host has (RFC 6890), given out by this endpoint to a tunnel while
//! it is open; it means nothing to anybody else. Each tunnel has its own, so that whoever carries one has no part in
//! another's connections.

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

/// Most tunnels of a node, at either end.
pub const MAX_TUNNELS: usize = 256;
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
    routes: BTreeMap<Ipv4Addr, Arc<Route>>,
}

#[derive(Default)]
struct Arrived {
    packets: VecDeque<(Ipv4Addr, Bytes)>,
    bytes: usize,
}

/// What waits for one tunnel.
struct Route {
    address: Ipv4Addr,
    queue: Mutex<BytesMut>,
    filled: Notify,
}

impl Tunnels {
    /// None yet.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { open: Mutex::default(), arrived: Mutex::default(), waker: AtomicWaker::new(), counters }
    }

    fn attach(&self) -> Option<Arc<Route>> {
        let mut open = self.open.lock();
        if open.routes.len() >= MAX_TUNNELS {
            return None;
        }
        let address = open.free_address();
        let route = Arc::new(Route { address, queue: Mutex::default(), filled: Notify::new() });
        open.routes.insert(address, route.clone());
        Some(route)
    }

    /// Puts packets, one or several of `segment` bytes, into the queue of the tunnel to `peer`.
    pub fn carry(&self, peer: Ipv4Addr, contents: &[u8], segment: Option<usize>) {
        let route = self.open.lock().routes.get(&peer).cloned();
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

    /// Gives packets from tunnels to QUIC, in at most half of the buffers so that the socket has its turn; their
    /// number. Where there are none the task is woken once there are.
    pub fn take(&self, cx: &Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta], mapped: bool) -> usize {
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
    /// There are far more than tunnels.
    fn free_address(&mut self) -> Ipv4Addr {
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
    /// A further tunnel; `None` where there are too many.
    pub fn attach(tunnels: &Arc<Tunnels>, registry: &Arc<Registry>) -> Option<Self> {
        let route = tunnels.attach()?;
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
        self.tunnels.open.lock().routes.remove(&self.route.address);
        for channel in self.registry.open() {
            if channel.remote() == self.at() {
                channel.close(Close::Idle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnels() -> (Arc<Tunnels>, Arc<Registry>) {
        (Arc::new(Tunnels::new(Arc::new(Counters::default()))), Arc::default())
    }

    fn take(tunnels: &Tunnels, buffers: usize, mapped: bool) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut memory = vec![[0; 64]; buffers];
        let mut bufs: Vec<_> = memory.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        let mut meta = vec![RecvMeta::default(); buffers];
        let cx = Context::from_waker(std::task::Waker::noop());
        let taken = tunnels.take(&cx, &mut bufs, &mut meta, mapped);
        (0..taken).map(|index| (meta[index].addr, bufs[index][..meta[index].len].to_vec())).collect()
    }

    #[tokio::test]
    async fn packets_are_framed_and_what_does_not_fit_is_dropped() {
        let (tunnels, registry) = tunnels();
        let tunnel = QuicTunnel::attach(&tunnels, &registry).unwrap();
        let address = virtual_address(tunnel.at().ip()).unwrap();
        tunnels.carry(address, b"aabbc", Some(2));
        let mut frames = BytesMut::new();
        tunnel.outgoing(&mut frames).await;
        assert_eq!(frames, &b"\0\x02aa\0\x02bb\0\x01c"[..]);
        let packet = [7; 1200];
        (0..1000).for_each(|_| tunnels.carry(address, &packet, None));
        tunnel.outgoing(&mut frames).await;
        assert!(frames.len() <= MAX_QUEUED_BYTES + 2 && frames.len() > MAX_QUEUED_BYTES - 1300);
        assert_eq!(tunnels.counters.get(Event::TunnelShed), 1000 - frames.len() as u64 / 1202);
    }

    #[test]
    fn packets_come_from_the_peers_address_and_leave_room_for_the_socket() {
        let (tunnels, registry) = tunnels();
        let tunnel = QuicTunnel::attach(&tunnels, &registry).unwrap();
        for packet in 0..5_u8 {
            tunnel.incoming(&[packet; 3]);
        }
        tunnel.incoming(&[9; 100]);
        let first = take(&tunnels, 8, false);
        assert_eq!(first, (0..4).map(|packet| (tunnel.at(), vec![packet; 3])).collect::<Vec<_>>());
        let rest = take(&tunnels, 8, true);
        assert_eq!(rest.len(), 1, "one that no buffer holds is dropped");
        assert_eq!((rest[0].0.ip().to_canonical(), rest[0].0.is_ipv6()), (tunnel.at().ip(), true));
        assert_eq!(tunnels.arrived.lock().bytes, 0);
        for _ in 0..MAX_ARRIVED_BYTES / 64 + 5 {
            tunnel.incoming(&[1; 64]);
        }
        assert_eq!(tunnels.arrived.lock().bytes, MAX_ARRIVED_BYTES);
        assert_eq!(tunnels.counters.get(Event::TunnelShed), 6);
    }

    #[test]
    fn tunnels_have_a_bound_and_addresses_of_their_own() {
        let (tunnels, registry) = tunnels();
        let attach = || QuicTunnel::attach(&tunnels, &registry);
        let mut open: Vec<_> = std::iter::from_fn(attach).collect();
        assert_eq!(open.len(), MAX_TUNNELS);
        assert_eq!(open.iter().map(Tunnel::at).collect::<std::collections::BTreeSet<_>>().len(), MAX_TUNNELS);
        let gone = virtual_address(open.pop().unwrap().at().ip()).unwrap();
        tunnels.carry(gone, b"x", None);
        assert_eq!(tunnels.counters.get(Event::TunnelShed), 1, "nobody is there any more");
        assert!(attach().is_some_and(|tunnel| virtual_address(tunnel.at().ip()) != Some(gone)));
        tunnels.open.lock().last = HOSTS;
        assert!(attach().is_some(), "addresses begin anew");
        open.clear();
        assert!(tunnels.open.lock().routes.is_empty());
    }

    #[test]
    fn no_address_of_a_host_is_virtual() {
        for host in ["127.0.0.1", "10.0.0.1", "::1", "0.0.0.0", "::ffff:1.0.0.0", "fd00::1", "::"] {
            assert_eq!(virtual_address(host.parse().unwrap()), None, "{host}");
        }
        assert_eq!(virtual_address("::ffff:0.0.0.9".parse().unwrap()), Some(Ipv4Addr::new(0, 0, 0, 9)));
    }
}
