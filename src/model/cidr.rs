//! Address ranges in prefix notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of addresses: all that share the first `prefix` bits of `network`. Ordered by the first address, a wide range
/// before the narrow ones that begin with it; written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is not an address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address range such as 10.244.0.0/24")]
pub struct Malformed(pub String);

impl Cidr {
    /// The range with these first bits; `None` where `prefix` is more than the address has.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= bits(address)).then(|| Self { network: masked(address, prefix), prefix })
    }

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

    /// Whether all of `other` is in the range.
    pub fn covers(&self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.network)
    }

    /// Whether the two share an address. Ranges never overlap in part: one covers the other.
    pub fn overlaps(&self, other: Self) -> bool {
        self.covers(other) || other.covers(*self)
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
        Self::new(address, prefix).ok_or_else(malformed)
    }
}

impl TryFrom<String> for Cidr {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> Self {
        range.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
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
    fn ranges_overlap_only_as_a_whole() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        let (wide, narrow) = (cidr("10.244.0.0/16"), cidr("10.244.3.0/24"));
        assert!(wide.covers(narrow) && !narrow.covers(wide) && wide.covers(wide));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide) && !narrow.overlaps(cidr("10.244.4.0/24")));
        assert!(!cidr("0.0.0.0/0").overlaps(cidr("::/0")), "families are apart");
        assert!(cidr("10.0.0.0/8") < cidr("10.0.0.0/16") && cidr("10.0.0.0/16") < cidr("10.1.0.0/16"));
    }

    #[test]
    fn a_range_travels_as_text() {
        let cidr: Cidr = "10.244.3.0/24".parse().unwrap();
        assert_eq!(serde_json::to_string(&cidr).unwrap(), "\"10.244.3.0/24\"");
        assert_eq!(serde_json::from_str::<Cidr>("\"10.244.3.7/24\"").unwrap(), cidr);
        assert!(serde_json::from_str::<Cidr>("\"10.244.3.7/64\"").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/24", "fd00::/129", "x/8", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
