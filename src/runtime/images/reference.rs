//! Image references: `busybox` means `docker.io/library/busybox:latest`.

use crate::runtime::Error;

/// Where names without a registry go.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag of names without one.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository name, registry included (as the reference grammar of OCI distribution has it).
const NAME_LIMIT: usize = 255;
/// Longest tag.
const TAG_LIMIT: usize = 128;

/// A reference taken apart; at least one of `tag` and `digest` is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `docker.io`, `localhost:5000`, ...
    pub registry: String,
    /// `library/busybox`.
    pub repository: String,
    /// `1.36`; also kept beside a digest.
    pub tag: Option<String>,
    /// `sha256:...`.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference as users write it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidReference(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let (registry, repository) = split_registry(name);
        let tag = if tag.is_none() && digest.is_none() { Some(DEFAULT_TAG.to_owned()) } else { tag };
        let reference = Self { registry, repository, tag, digest };
        if reference.is_valid() { Ok(reference) } else { Err(invalid()) }
    }

    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    fn is_valid(&self) -> bool {
        self.registry.len() + self.repository.len() < NAME_LIMIT
            && valid_registry(&self.registry)
            && self.repository.split('/').all(valid_component)
            && self.tag.as_deref().is_none_or(valid_tag)
            && self.digest.as_deref().is_none_or(valid_digest)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The full form of a reference: registry, `library/`, tag.
pub fn normalize(text: &str) -> Result<String, Error> {
    Ok(Reference::parse(text)?.to_string())
}

/// Whether `text` is `sha256:` and 64 lower-case hexadecimal digits (the one algorithm that is accepted).
pub fn valid_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The first part is a registry where it could not be a Docker Hub name: it has a dot or a port, or is `localhost`.
fn split_registry(name: &str) -> (String, String) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => match (first, rest) {
            ("docker.io" | "index.docker.io", rest) => (DEFAULT_REGISTRY.to_owned(), in_library(rest)),
            (first, rest) => (first.to_owned(), rest.to_owned()),
        },
        _ => (DEFAULT_REGISTRY.to_owned(), in_library(name)),
    }
}

fn in_library(repository: &str) -> String {
    if repository.contains('/') { repository.to_owned() } else { format!("library/{repository}") }
}

fn valid_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') || registry.starts_with('[') => (host, Some(port)),
        _ => (registry, None),
    };
    let plain = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good_host = literal.map_or_else(|| host.split('.').all(plain), |ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    good_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn valid_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    for b in part.bytes() {
        if alphanumeric(b) {
            let dashes = separator.bytes().all(|b| b == b'-');
            if !(dashes || matches!(separator.as_str(), "." | "_" | "__")) {
                return false;
            }
            separator.clear();
        } else if matches!(b, b'.' | b'_' | b'-') {
            separator.push(char::from(b));
        } else {
            return false;
        }
    }
    separator.is_empty() && part.bytes().next().is_some_and(alphanumeric)
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LIMIT
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: Option<&str>) {
        assert_eq!(normalize(input).ok().as_deref(), expect, "{input}");
    }

    #[test]
    fn short_names_become_full_ones() {
        let digest = format!("sha256:{}", "a".repeat(64));
        check("busybox", Some("docker.io/library/busybox:latest"));
        check("busybox:1.36", Some("docker.io/library/busybox:1.36"));
        check("grafana/loki", Some("docker.io/grafana/loki:latest"));
        check("docker.io/nginx", Some("docker.io/library/nginx:latest"));
        check("localhost/app", Some("localhost/app:latest"));
        check("localhost:5000/a/b:c", Some("localhost:5000/a/b:c"));
        check("[::1]:5000/a", Some("[::1]:5000/a:latest"));
        check("shoal.local/toolbox:latest", Some("shoal.local/toolbox:latest"));
        check(&format!("nginx@{digest}"), Some(&format!("docker.io/library/nginx@{digest}")));
        check(&format!("nginx:1@{digest}"), Some(&format!("docker.io/library/nginx:1@{digest}")));
        check("a__b/c---d.e", Some("docker.io/a__b/c---d.e:latest"));
    }

    #[test]
    fn malformed_names_are_refused() {
        let long_name = "a".repeat(300);
        let long_tag = format!("a:{}", "b".repeat(129));
        for input in [
            "",
            ":",
            "UPPER",
            "a b",
            "a:",
            "a@sha256:12",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "-a",
            "a:-b",
            "host:99999/a",
            &long_name,
            &long_tag,
        ] {
            check(input, None);
        }
    }
}
