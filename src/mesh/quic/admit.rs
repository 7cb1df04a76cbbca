//! Who may have a handshake under way: a count per address, without I/O.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// One address may have this part of all slots once half of them are taken.
const SHARE: usize = 8;

/// What to do with a handshake's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Begin it; [`Unfinished::leave`] gives its slot back.
    Begin,
    /// Ask it to prove its address; nothing is kept.
    Prove,
    /// Drop it: no slot is left.
    Shed,
    /// Drop it: its address has its share.
    Crowded,
}

/// Handshakes under way.
#[derive(Debug)]
pub struct Unfinished {
    /// Most at a time.
    slots: usize,
    /// From this many on, addresses must be proved.
    prove_from: usize,
    total: usize,
    by_network: BTreeMap<IpAddr, usize>,
}

impl Unfinished {
    /// None yet, of `slots`; a quarter of them is given to addresses that have proved nothing.
    pub fn new(slots: usize) -> Self {
        Self { slots, prove_from: slots / 4, total: 0, by_network: BTreeMap::new() }
    }

    /// A handshake from `address` wants to begin; `proved` where it has shown that it receives what is sent there.
    pub fn enter(&mut self, address: IpAddr, proved: bool) -> Verdict {
        let network = network(address);
        let mine = self.by_network.get(&network).copied().unwrap_or(0);
        if !proved && self.total >= self.prove_from {
            return Verdict::Prove;
        }
        if self.total >= self.slots {
            return Verdict::Shed;
        }
        if self.total >= self.slots / 2 && mine >= (self.slots / SHARE).max(1) {
            return Verdict::Crowded;
        }
        self.total += 1;
        self.by_network.insert(network, mine + 1);
        Verdict::Begin
    }

    /// A handshake that had begun has ended.
    pub fn leave(&mut self, address: IpAddr) {
        let network = network(address);
        self.total = self.total.saturating_sub(1);
        match self.by_network.get_mut(&network) {
            Some(mine) if *mine > 1 => *mine -= 1,
            _ => drop(self.by_network.remove(&network)),
        }
    }
}

/// What counts as one address: all of IPv4's, the first 64 bits of IPv6's, because a host has them all.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn strangers_get_a_quarter_and_no_address_takes_all() {
        let mut unfinished = Unfinished::new(32);
        for _ in 0..8 {
            assert_eq!(unfinished.enter(v4(1), false), Verdict::Begin);
        }
        assert_eq!(unfinished.enter(v4(1), false), Verdict::Prove);
        for _ in 8..16 {
            assert_eq!(unfinished.enter(v4(1), true), Verdict::Begin);
        }
        assert_eq!(unfinished.enter(v4(1), true), Verdict::Crowded, "it has more than its share of 4");
        for other in 2..=5 {
            for _ in 0..4 {
                assert_eq!(unfinished.enter(v4(other), true), Verdict::Begin);
            }
            assert_ne!(unfinished.enter(v4(other), true), Verdict::Begin);
        }
        assert_eq!(unfinished.enter(v4(9), true), Verdict::Shed, "all 32 are taken");
        unfinished.leave(v4(1));
        assert_eq!(unfinished.enter(v4(9), true), Verdict::Begin);
    }

    #[test]
    fn leaving_forgets_the_address() {
        let mut unfinished = Unfinished::new(32);
        for last in 0..8 {
            unfinished.enter(v4(last), true);
        }
        (0..8).for_each(|last| unfinished.leave(v4(last)));
        assert_eq!((unfinished.total, unfinished.by_network.len()), (0, 0));
    }

    #[test]
    fn a_host_has_one_network_of_ipv6() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:2".parse().unwrap()));
        assert_ne!(network("2001:db8::1".parse().unwrap()), network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), v4(1));
    }
}
