//! Which versions of the mesh this program speaks. Two nodes agree on the newest that both speak in their handshake (ALPN
//! `shoal-mesh/N`); where there is none, there is no connection, and nothing of the other is read.

use serde::{Deserialize, Serialize};

/// Versions that a program speaks, all from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Oldest.
    pub oldest: u16,
    /// Newest.
    pub newest: u16,
}

/// What this release speaks.
pub const RELEASE: Versions = Versions { oldest: 1, newest: 1 };
/// Most versions that are offered in a handshake, the newest ones.
pub const MAX_OFFERED: usize = 8;
/// What the name of a version begins with in a handshake.
pub const ALPN_PREFIX: &[u8] = b"shoal-mesh/";

impl Default for Versions {
    /// What programs spoke that did not say so.
    fn default() -> Self {
        Self { oldest: 1, newest: 1 }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.oldest == self.newest { self.newest.fmt(f) } else { write!(f, "{} to {}", self.oldest, self.newest) }
    }
}

impl Versions {
    /// Whether there is a version that both speak.
    pub fn meet(self, other: Self) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest
    }

    /// Their names in a handshake, the newest first.
    pub fn alpn(self) -> Vec<Vec<u8>> {
        let name = |version: u16| [ALPN_PREFIX, version.to_string().as_bytes()].concat();
        (self.oldest..=self.newest).rev().take(MAX_OFFERED).map(name).collect()
    }
}

/// What this process speaks. Builds for tests may be told to speak others: two releases then meet in one cluster.
pub fn spoken() -> Versions {
    #[cfg(debug_assertions)]
    if let Some(told) = told(std::env::var("SHOAL_TEST_MESH_VERSIONS").ok().as_deref()) {
        return told;
    }
    RELEASE
}

/// `2`, or `1-2`.
#[cfg(any(test, debug_assertions))]
fn told(text: Option<&str>) -> Option<Versions> {
    let (oldest, newest) = text.map(|text| text.split_once('-').unwrap_or((text, text)))?;
    Some(Versions { oldest: oldest.parse().ok()?, newest: newest.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_programs_meet_where_they_have_a_version_in_common() {
        let of = |text| told(Some(text)).unwrap();
        for (one, other, expect) in
            [("1", "1", true), ("1-2", "1", true), ("1-2", "2-3", true), ("1", "2", false), ("3", "1-2", false)]
        {
            assert_eq!((of(one).meet(of(other)), of(other).meet(of(one))), (expect, expect), "{one} and {other}");
        }
        assert_eq!(of("1-2").alpn(), [b"shoal-mesh/2".to_vec(), b"shoal-mesh/1".to_vec()]);
        assert_eq!(Versions { oldest: 1, newest: 900 }.alpn().len(), MAX_OFFERED);
        assert_eq!((of("7").to_string(), of("1-2").to_string()), ("7".into(), "1 to 2".into()));
    }

    #[test]
    fn what_is_no_version_is_not_taken_for_one() {
        assert_eq!([told(None), told(Some("")), told(Some("x-2")), told(Some("-"))], [None; 4]);
    }
}
