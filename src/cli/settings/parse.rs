//! Readers of single values; an error says what was expected.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::mesh::member::MAX_ADDRESSES;
use crate::runtime::network::Cidr;

/// Most seeds that are tried.
const MAX_SEEDS: usize = 64;
/// Bounds of `mesh.certificate_lifetime`: time to renew, and the longest that a stolen certificate may be of use.
const CERTIFICATE_LIFETIME: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(365 * 24);

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

/// Reads every item of a list, at most [`MAX_SEEDS`].
pub fn each<T>(items: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if items.len() > MAX_SEEDS {
        return Err(format!("at most {MAX_SEEDS} items"));
    }
    items.iter().map(|item| read(item)).collect()
}

/// A host's name or address, with a port: `node-1:6443`, `10.0.0.1:6443`, `[fd00::1]:6443`. Names are not looked up.
pub fn host_port(text: &str) -> Result<String, String> {
    let expected = || "a host with a port, such as 10.0.0.1:6443 or [fd00::1]:6443".to_string();
    if text.parse::<SocketAddr>().is_ok_and(|at| at.port() != 0) {
        return Ok(text.into());
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    dns_name(&host.to_lowercase()).ok().zip(port).ok_or_else(expected)?;
    Ok(text.into())
}

/// Addresses with ports that others can dial.
pub fn advertised(items: &[String]) -> Result<Vec<SocketAddr>, String> {
    let expected = || "at most four addresses with ports, such as 10.0.0.1:6443".to_string();
    let read = |item: &str| {
        let at = item.parse::<SocketAddr>().ok().filter(|at| at.port() != 0 && !at.ip().is_unspecified());
        at.ok_or_else(expected)
    };
    if items.len() > MAX_ADDRESSES { Err(expected()) } else { each(items, read) }
}

/// A lifetime of certificates.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    let read = duration(text).ok().filter(|lifetime| CERTIFICATE_LIFETIME.contains(lifetime));
    read.ok_or_else(|| "a duration from 1m to 365d".into())
}

/// A duration between two bounds.
pub fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let read = duration(text).ok().filter(|time| (least..=most).contains(time));
    read.ok_or_else(|| format!("a duration from {least:?} to {most:?}"))
}

/// A label's value, which may be empty.
pub fn label_value(text: &str) -> Result<String, String> {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last()) {
        return Ok(text.into());
    }
    Err("at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends".into())
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
    let expected = || "a duration such as 500ms, 90s, 10m, 1h or 7d".to_string();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return Err(expected()),
    };
    let value: u64 = digits.parse().map_err(|_| expected())?;
    value.checked_mul(factor).map(Duration::from_millis).ok_or_else(expected)
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
