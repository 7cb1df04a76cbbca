//! Which node gets which pod addresses: the cluster's range, divided into equal ones.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Cidr;

/// Pod addresses of a cluster where nothing else is said: 256 nodes of [`DEFAULT_NODE_PREFIX`] (kubeadm's and flannel's
/// customary range).
pub const DEFAULT_CLUSTER_CIDR: &str = "10.244.0.0/16";
/// Bits of a node's range where nothing else is said (kube-controller-manager's `--node-cidr-mask-size`).
pub const DEFAULT_NODE_PREFIX: u8 = 24;
/// Bits that a node's range leaves at least: one for a pod beside network, gateway and broadcast address.
const MIN_HOST_BITS: u8 = 2;

/// Why no range can be given. Nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings make no division.
    #[error("{cluster} cannot be divided into /{prefix} ranges: between /{} and /{most} would do", cluster.prefix())]
    Prefix {
        /// The cluster's range.
        cluster: Cidr,
        /// Bits asked for.
        prefix: u8,
        /// Bits that a node's range has at most.
        most: u8,
    },
    /// Every range is taken.
    #[error("all /{prefix} ranges of {cluster} are taken; widen network.cluster_cidr or remove nodes")]
    Full {
        /// The cluster's range.
        cluster: Cidr,
        /// Bits of a node's range.
        prefix: u8,
    },
}

/// The first range of `prefix` bits in `cluster` that overlaps none in `taken` (which may hold ranges of any size, also
/// outside the cluster). With nothing taken that is the cluster's first one, which so goes to its founder. Costs one pass
/// over `taken`.
///
/// # Errors
/// Where `prefix` does not divide the cluster, or nothing is left.
pub fn next_pod_cidr(cluster: Cidr, prefix: u8, taken: &BTreeSet<Cidr>) -> Result<Cidr, Error> {
    let (bits, first) = position(cluster.network());
    let most = bits.saturating_sub(MIN_HOST_BITS);
    if prefix < cluster.prefix() || prefix > most {
        return Err(Error::Prefix { cluster, prefix, most });
    }
    let full = Error::Full { cluster, prefix };
    let size = size(bits, prefix);
    let end = first.saturating_add(size_less_one(bits, cluster.prefix()));
    let mut candidate = first;
    // In order of their first addresses: what begins after the candidate's end is followed by nothing that matters.
    for other in taken.iter().filter(|other| other.network().is_ipv4() == cluster.network().is_ipv4()) {
        let (_, begins) = position(other.network());
        let ends = begins.saturating_add(size_less_one(bits, other.prefix()));
        if ends < candidate {
            continue;
        }
        if begins > candidate.saturating_add(size - 1) {
            break;
        }
        let Some(after) = ends.checked_add(1).and_then(|next| next.checked_next_multiple_of(size)) else {
            return Err(full);
        };
        candidate = after;
    }
    if candidate > end {
        return Err(full);
    }
    Cidr::new(address(cluster.network(), candidate), prefix).ok_or(full)
}

/// Bits of the family, and the address as a number.
fn position(address: IpAddr) -> (u8, u128) {
    match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    }
}

fn address(family: IpAddr, number: u128) -> IpAddr {
    match family {
        // Within the cluster's range, so that it fits.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

fn size(bits: u8, prefix: u8) -> u128 {
    size_less_one(bits, prefix).saturating_add(1)
}

/// The whole of IPv6 is one more than fits.
fn size_less_one(bits: u8, prefix: u8) -> u128 {
    let free = u32::from(bits.saturating_sub(prefix));
    1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn next(cluster: &str, prefix: u8, taken: &[&str]) -> Result<String, Error> {
        let taken = taken.iter().map(|text| cidr(text)).collect();
        next_pod_cidr(cidr(cluster), prefix, &taken).map(|range| range.to_string())
    }

    #[test]
    fn the_first_free_range_is_given() {
        let given = |taken: &[&str]| next(DEFAULT_CLUSTER_CIDR, DEFAULT_NODE_PREFIX, taken).unwrap();
        assert_eq!(given(&[]), "10.244.0.0/24", "the founder's");
        assert_eq!(given(&["10.244.0.0/24"]), "10.244.1.0/24");
        assert_eq!(given(&["10.244.0.0/24", "10.244.2.0/24"]), "10.244.1.0/24", "a gap is used again");
        assert_eq!(given(&["10.243.0.0/24", "10.245.0.0/16", "fd00::/64"]), "10.244.0.0/24", "what lies outside");
        assert_eq!(given(&["10.0.0.0/9", "10.244.0.5/32"]), "10.244.1.0/24", "smaller than a node's");
        assert_eq!(given(&["10.244.0.0/17", "10.244.3.0/24", "10.244.128.0/24"]), "10.244.129.0/24", "nested, larger");
        assert_eq!(next("fd00::/48", 64, &["fd00::/64"]).unwrap(), "fd00:0:0:1::/64");
        assert_eq!(next("::/0", 1, &["::/1"]).unwrap(), "8000::/1");
    }

    #[test]
    fn a_whole_cluster_is_given_out_once_and_then_full() {
        for (cluster, prefix, count) in
            [("10.244.0.0/16", 24, 256), ("10.9.8.0/22", 30, 256), ("255.255.255.0/24", 26, 4)]
        {
            let mut taken = BTreeSet::new();
            for nth in 0..count {
                let range = next_pod_cidr(cidr(cluster), prefix, &taken).unwrap();
                assert!(cidr(cluster).covers(range) && !taken.iter().any(|other| range.overlaps(*other)), "{range}");
                assert_eq!(taken.len(), nth);
                taken.insert(range);
            }
            let full = next_pod_cidr(cidr(cluster), prefix, &taken).unwrap_err();
            assert_eq!(full, Error::Full { cluster: cidr(cluster), prefix });
            let back = *taken.iter().nth(count / 2).unwrap();
            taken.remove(&back);
            assert_eq!(next_pod_cidr(cidr(cluster), prefix, &taken), Ok(back), "what a removed node had");
        }
        assert!(matches!(next("10.244.0.0/16", 24, &["0.0.0.0/0"]), Err(Error::Full { .. })));
        assert!(matches!(next("fd00::/48", 64, &["::/0"]), Err(Error::Full { .. })));
    }

    #[test]
    fn a_range_that_holds_no_pod_or_is_wider_than_the_cluster_is_refused() {
        for (cluster, prefix) in
            [("10.244.0.0/16", 15), ("10.244.0.0/16", 31), ("10.244.0.0/16", 200), ("fd00::/64", 127)]
        {
            assert!(matches!(next(cluster, prefix, &[]), Err(Error::Prefix { .. })), "{cluster} {prefix}");
        }
        let error = next("10.244.0.0/16", 31, &[]).unwrap_err().to_string();
        assert_eq!(error, "10.244.0.0/16 cannot be divided into /31 ranges: between /16 and /30 would do");
        assert_eq!(next("10.244.0.0/24", 24, &[]).unwrap(), "10.244.0.0/24", "a cluster of one node");
    }
}
