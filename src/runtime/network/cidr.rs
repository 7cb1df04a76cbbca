//! Address ranges in prefix notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: all that share the first `prefix` bits of `network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is not an address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address range such as 10.244.0.0/24")]
pub struct Malformed(pub String);

impl Cidr {
    /// The range of the unspecified address alone.
    pub fn nothing() -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 32 }
    }

    /// The first address, with all host bits zero.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// Bits that are fixed.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix) == self.network
    }

    /// The address `offset` after the first; `None` outside the range.
    pub fn nth(&self, offset: u32) -> Option<IpAddr> {
        let address = match self.network {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits().checked_add(offset)?)),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits().checked_add(offset.into())?)),
        };
        self.contains(address).then_some(address)
    }

    /// Addresses that hosts may have: without the first (the network), the second (the gateway) and, for IPv4, the
    /// last (broadcast). At most `u32::MAX` of them.
    pub fn host_offsets(&self) -> std::ops::Range<u32> {
        let (bits, reserved_end) = if self.network.is_ipv4() { (32u8, 1) } else { (128, 0) };
        let free = u32::from(bits.saturating_sub(self.prefix));
        let size = 1u32.checked_shl(free).unwrap_or(u32::MAX);
        2..size.saturating_sub(reserved_end).max(2)
    }
}

impl FromStr for Cidr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.to_string());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let prefix: u8 = prefix.parse().map_err(|_| malformed())?;
        if prefix > if address.is_ipv4() { 32 } else { 128 } {
            return Err(malformed());
        }
        Ok(Self { network: masked(address, prefix), prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_knows_its_addresses() {
        let cidr: Cidr = "10.244.3.9/24".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.244.3.0/24");
        assert_eq!(cidr.nth(1), Some("10.244.3.1".parse().unwrap()));
        assert_eq!(cidr.nth(256), None);
        assert_eq!(cidr.host_offsets(), 2..255);
        assert!(cidr.contains("10.244.3.255".parse().unwrap()) && !cidr.contains("10.244.4.0".parse().unwrap()));
        assert_eq!("fd00::/120".parse::<Cidr>().unwrap().host_offsets(), 2..256);
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().nth(u32::MAX), Some("255.255.255.255".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/24", "fd00::/129", "x/8", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
