//! The UDP socket below QUIC: drops and counts datagrams that cannot be QUIC before they cost anything, and leads those
//! of peers behind tunnels there.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::counters::{Counters, Event};
use super::transport::MAX_SEGMENTS;
use super::tunnels::{Tunnels, virtual_address};

/// Buffers asked of the system for each direction; it gives less where the process may not have so much.
const SYSTEM_BUFFER: usize = 4 << 20;
/// A short packet has at least a byte of flags, an 8-byte connection id of ours, and 16 bytes that authenticate it.
const SHORTEST: usize = 21;
/// Batches of nothing but dropped datagrams after which other work has its turn.
const EMPTY_ROUNDS: usize = 8;
/// The bit that every packet of QUIC version 1 has (RFC 9000, 17).
const FIXED_BIT: u8 = 0x40;
/// A long header, and of these the kind that opens a handshake (RFC 9000, 17.2.2).
const LONG_HEADER: u8 = 0x80;
const KIND: u8 = 0x30;
/// Least size of a datagram that opens a handshake (RFC 9000, 14.1).
const LEAST_INITIAL: usize = 1_200;

/// Binds `address` with large buffers.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    // Where the process may not force them, the plain call gives what the system's limit allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &SYSTEM_BUFFER).is_err() {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &SYSTEM_BUFFER);
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SYSTEM_BUFFER).is_err() {
        let _ = setsockopt(&socket, sockopt::SndBuf, &SYSTEM_BUFFER);
    }
    Ok(socket)
}

/// A socket as QUIC wants it.
pub struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    counters: Arc<Counters>,
    tunnels: Arc<Tunnels>,
    /// Whether QUIC knows addresses of IPv4 in their IPv6 form.
    mapped: bool,
}

impl Socket {
    /// Wraps a socket; what is for peers behind tunnels goes there instead.
    pub fn over(inner: Arc<dyn AsyncUdpSocket>, counters: Arc<Counters>, tunnels: Arc<Tunnels>) -> Arc<Self> {
        let mapped = inner.local_addr().is_ok_and(|local| local.is_ipv6());
        Arc::new(Self { inner, counters, tunnels, mapped })
    }

    /// Keeps the datagrams that may be QUIC, in front; their number.
    fn sift(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut kept = 0;
        for index in 0..meta.len() {
            let (Some(buf), Some(found)) = (bufs.get(index), meta.get(index).copied()) else { break };
            // Several datagrams in one buffer come from one sender; QUIC looks at each of them by itself.
            let alone = found.len <= found.stride;
            let datagram = buf.get(..found.len).unwrap_or_default();
            // Nobody out there has such an address: it would pass for the peer behind the tunnel.
            let forged = virtual_address(found.addr.ip()).is_some();
            if forged || (alone && !self.may_be_quic(datagram)) {
                self.counters.add(Event::Malformed);
                continue;
            }
            bufs.swap(kept, index);
            meta.swap(kept, index);
            kept += 1;
        }
        kept
    }

    fn may_be_quic(&self, datagram: &[u8]) -> bool {
        let Some(&first) = datagram.first() else { return false };
        if first & LONG_HEADER == 0 {
            return first & FIXED_BIT != 0 && datagram.len() >= SHORTEST;
        }
        if datagram.get(1..5) == Some(&[0; 4]) {
            return true; // negotiation of versions has no fixed bit
        }
        if first & KIND == 0 && datagram.len() < LEAST_INITIAL {
            self.counters.add(Event::ShortInitial);
        }
        first & FIXED_BIT != 0
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match virtual_address(transmit.destination.ip()) {
            Some(peer) => self.tunnels.carry(peer, transmit.contents, transmit.segment_size),
            None => return self.inner.try_send(transmit),
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let tunnelled = self.tunnels.take(cx, bufs, meta, self.mapped);
        let (Some(bufs), Some(meta)) = (bufs.get_mut(tunnelled..), meta.get_mut(tunnelled..)) else {
            return Poll::Ready(Ok(tunnelled));
        };
        for _ in 0..EMPTY_ROUNDS {
            let received = match self.inner.poll_recv(cx, bufs, meta) {
                Poll::Ready(Ok(received)) => received,
                // What is left of an error comes again with the next call.
                _ if tunnelled > 0 => return Poll::Ready(Ok(tunnelled)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            let kept = self.sift(bufs, meta.get_mut(..received).unwrap_or_default());
            if tunnelled + kept > 0 {
                return Poll::Ready(Ok(tunnelled + kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments().min(MAX_SEGMENTS)
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
