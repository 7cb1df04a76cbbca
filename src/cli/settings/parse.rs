//! Readers of single values; an error says what was expected.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::runtime::network::Cidr;

/// A path that is not empty.
pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path".into()) } else { Ok(text.into()) }
}

/// `address:port`; `:port` and a bare port listen on every address.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    text.parse().map_err(|_| "an address with a port, such as 0.0.0.0:6443 or [::]:6443".into())
}

/// A DNS label, or empty.
pub fn node_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { dns_name(text) }
}

/// A DNS name (RFC 1123 subdomain).
pub fn dns_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.into());
    }
    Err("lower case letters, digits and '-', in parts joined by '.'".into())
}

/// A value, or empty for none.
pub fn optional<T, E>(text: &str, expected: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    read(text).map(Some).map_err(|_| expected.into())
}

/// One of some words.
pub fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let words = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| format!("one of {}", words()))
}

/// An IPv4 range with at most `longest` fixed bits.
pub fn range(text: &str, longest: u8) -> Result<Cidr, String> {
    let expected = || format!("an IPv4 address range such as 10.244.0.0/24, with a prefix of 8 to {longest}");
    let cidr: Cidr = text.parse().map_err(|_| expected())?;
    if matches!(cidr.network(), IpAddr::V4(_)) && (8..=longest).contains(&cidr.prefix()) {
        return Ok(cidr);
    }
    Err(expected())
}

/// Name of a network device.
pub fn device(text: &str) -> Result<String, String> {
    if text.len() <= 15 { identifier(text) } else { Err("a name of at most 15 bytes".into()) }
}

/// A letter, then letters, digits, `_` and `-`.
pub fn identifier(text: &str) -> Result<String, String> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Ok(text.into());
    }
    Err("a letter, then letters, digits, '_' or '-'".into())
}

/// A number in a range.
pub fn number<T: FromStr + PartialOrd + std::fmt::Display>(text: &str, range: RangeInclusive<T>) -> Result<T, String> {
    let parsed = text.parse().ok().filter(|value| range.contains(value));
    parsed.ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()))
}

/// A number with a unit: `90s`, `10m`, `1h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "a duration such as 90s, 10m, 1h or 7d".to_string();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    let value: u64 = digits.parse().map_err(|_| expected())?;
    value.checked_mul(factor).map(Duration::from_secs).ok_or_else(expected)
}

/// Bytes, with an optional unit: `500`, `64Ki`, `10Mi`, `1Gi`.
pub fn size(text: &str) -> Result<u64, String> {
    let expected = || "a size such as 1048576, 64Ki, 10Mi or 1Gi".to_string();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" => 1u64,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(expected()),
    };
    let value: u64 = digits.parse().map_err(|_| expected())?;
    value.checked_mul(factor).ok_or_else(expected)
}
