//! What came in and what was turned away, counted by kind.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A datagram that cannot be QUIC: too short, or without the bit that all packets of QUIC version 1 have. Dropped.
    Malformed,
    /// A handshake's first packet in a datagram under 1,200 bytes: dropped by QUIC, unless it ends a handshake.
    ShortInitial,
    /// A handshake ignored because every slot is taken; the peer tries again by itself.
    HandshakeShed,
    /// A handshake ignored because its address has too many under way.
    HandshakeCrowded,
    /// A handshake asked to prove its address first.
    HandshakeRetried,
    /// A handshake that ended within its time, in failure: another authority, no protocol in common, not QUIC.
    HandshakeFailed,
    /// A handshake that did not end in time.
    HandshakeTimeout,
    /// A connection from a node.
    PeerAccepted,
    /// A connection that asked for the mesh without a node's certificate.
    PeerUntrusted,
    /// A connection from a node that was turned away because too many are open or wait.
    PeerShed,
    /// A connection to a node.
    PeerDialled,
    /// A connection that was ended because its certificate is no longer believed.
    PeerRefused,
    /// A connection for HTTP/3.
    Http3Accepted,
    /// A connection for HTTP/3 that was turned away because too many wait.
    Http3Shed,
    /// A join exchange that was answered.
    JoinAnswered,
    /// A join exchange turned away: too many at once, or from one address.
    JoinShed,
    /// A join exchange that broke its bounds: request too long, or not in time.
    JoinFailed,
    /// A packet to or from a peer behind a tunnel that found no room, or no tunnel.
    TunnelShed,
}

/// Every kind with its name as a metric's label.
const KINDS: [(Event, &str); 18] = [
    (Event::Malformed, "malformed"),
    (Event::ShortInitial, "short_initial"),
    (Event::HandshakeShed, "handshake_shed"),
    (Event::HandshakeCrowded, "handshake_crowded"),
    (Event::HandshakeRetried, "handshake_retried"),
    (Event::HandshakeFailed, "handshake_failed"),
    (Event::HandshakeTimeout, "handshake_timeout"),
    (Event::PeerAccepted, "peer_accepted"),
    (Event::PeerUntrusted, "peer_untrusted"),
    (Event::PeerShed, "peer_shed"),
    (Event::PeerDialled, "peer_dialled"),
    (Event::PeerRefused, "peer_refused"),
    (Event::Http3Accepted, "http3_accepted"),
    (Event::Http3Shed, "http3_shed"),
    (Event::JoinAnswered, "join_answered"),
    (Event::JoinShed, "join_shed"),
    (Event::JoinFailed, "join_failed"),
    (Event::TunnelShed, "tunnel_shed"),
];

/// Counts since the endpoint was bound.
#[derive(Debug, Default)]
pub struct Counters {
    counts: [AtomicU64; KINDS.len()],
}

impl Counters {
    pub(super) fn add(&self, event: Event) {
        if let Some(count) = self.counts.get(event as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it has happened.
    pub fn get(&self, event: Event) -> u64 {
        self.counts.get(event as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Every count with its name.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.iter().map(|(event, name)| (*name, self.get(*event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_count_of_its_own() {
        let counters = Counters::default();
        for (index, (event, _)) in KINDS.iter().enumerate() {
            assert_eq!(*event as usize, index);
            (0..=index).for_each(|_| counters.add(*event));
        }
        let seen: Vec<u64> = counters.each().map(|(_, count)| count).collect();
        assert_eq!(seen, (1..=KINDS.len() as u64).collect::<Vec<_>>());
    }
}
