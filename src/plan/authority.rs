//! When the cluster's authority is replaced by its successor: first everybody trusts both, then the new one signs, and
//! the old one is forgotten once no certificate of it is left.
//!
//! The bundle is the state: what it holds, in which order (the one that signs comes first) and how old each is tells
//! the phase, so that whoever decides next, after whatever crash, goes on where the last one stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{NodeId, Timestamp};

/// Most authorities that are trusted at a time: the one that signs, its successor or predecessor, and one to spare.
pub const MAX_AUTHORITIES: usize = 3;
/// An authority with less than this left is replaced without being asked.
pub const REPLACE_BEFORE: Duration = Duration::from_hours(24 * 365);
/// How long a new authority waits for nodes that do not say that they trust it, beyond the life of their certificates.
pub const SETTLE: Duration = Duration::from_mins(10);

/// SHA-256 of a public key (its `SubjectPublicKeyInfo` in DER): names an authority, whatever certificate it shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hexadecimal digits")]
pub struct NotAFingerprint;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAFingerprint);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(NotAFingerprint)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

/// An authority that is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// Its key.
    pub key: Fingerprint,
    /// When it was made; it is published right after.
    pub made: Timestamp,
    /// When its certificate ends.
    pub ends: Timestamp,
}

/// The certificate that a node has, and what it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who signed it.
    pub issuer: Fingerprint,
    /// When it ends.
    pub ends: Timestamp,
    /// The authorities that the node says it trusts; empty where it has not said.
    pub trusts: BTreeSet<Fingerprint>,
}

/// What is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Trusted authorities as published, the one that signs first.
    pub bundle: &'a [Authority],
    /// Every node that has a certificate.
    pub nodes: &'a BTreeMap<NodeId, Holding>,
    /// The successor whose key is at hand, where there is one.
    pub successor: Option<Fingerprint>,
    /// Whether somebody asks for a new authority now.
    pub asked: bool,
    /// Longest life of a node's certificate.
    pub lifetime: Duration,
}

/// Where a replacement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// One authority.
    Steady,
    /// Both are trusted, the old one signs.
    TrustBoth {
        /// The one to come.
        new: Fingerprint,
    },
    /// Both are trusted, the new one signs.
    SignNew {
        /// The one to go.
        old: Fingerprint,
    },
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing; look again when something changes, or then.
    Wait {
        /// When time alone changes the answer.
        until: Option<Timestamp>,
    },
    /// Make a successor (`ca-next`).
    Generate,
    /// Put the successor at the end of the bundle.
    Publish(Fingerprint),
    /// Switch to it: it comes first in the bundle and signs from now on.
    Sign(Fingerprint),
    /// Take it out of the bundle.
    Forget(Fingerprint),
}

/// Where the replacement stands, by the bundle alone.
pub fn phase(bundle: &[Authority]) -> Phase {
    let Some((signing, others)) = bundle.split_first() else { return Phase::Steady };
    if let Some(old) = others.iter().find(|other| other.made < signing.made) {
        return Phase::SignNew { old: old.key };
    }
    others.first().map_or(Phase::Steady, |new| Phase::TrustBoth { new: new.key })
}

/// The next step of a replacement, or whether to begin one.
pub fn next(picture: &Picture<'_>, now: Timestamp) -> Action {
    match phase(picture.bundle) {
        Phase::Steady => begin(picture, now),
        Phase::TrustBoth { new } => introduce(picture, new, now),
        Phase::SignNew { old } => retire(picture, old, now),
    }
}

fn begin(picture: &Picture<'_>, now: Timestamp) -> Action {
    let Some(signing) = picture.bundle.first() else { return Action::Wait { until: None } };
    if let Some(successor) = picture.successor {
        return Action::Publish(successor);
    }
    if picture.asked || signing.ends.since(now) < REPLACE_BEFORE {
        return Action::Generate;
    }
    let left = signing.ends.since(now).saturating_sub(REPLACE_BEFORE);
    Action::Wait { until: Some(now + left + Duration::from_micros(1)) }
}

/// The new one may sign once everybody trusts it. Who has not said so for longer than a certificate lives has none.
fn introduce(picture: &Picture<'_>, new: Fingerprint, now: Timestamp) -> Action {
    if picture.successor != Some(new) {
        return Action::Forget(new); // its key is lost, and it has signed nothing
    }
    let made = picture.bundle.iter().find(|known| known.key == new).map_or(now, |known| known.made);
    let settled = made + picture.lifetime + SETTLE;
    let all = picture.nodes.values().filter(|node| node.ends > now).all(|node| node.trusts.contains(&new));
    if all || now >= settled { Action::Sign(new) } else { Action::Wait { until: Some(settled) } }
}

fn retire(picture: &Picture<'_>, old: Fingerprint, now: Timestamp) -> Action {
    let ends = picture.bundle.iter().find(|known| known.key == old).map_or(now, |known| known.ends);
    let last = picture.nodes.values().filter(|node| node.issuer == old && node.ends > now).map(|node| node.ends).max();
    match last {
        Some(last) if ends > now => Action::Wait { until: Some(last.min(ends)) },
        _ => Action::Forget(old),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
    const OLD: Fingerprint = Fingerprint([1; 32]);
    const NEW: Fingerprint = Fingerprint([2; 32]);
    const DAY: Duration = Duration::from_hours(24);
    const BEFORE: Timestamp = Timestamp(NOW.0 - 1);

    fn authority(key: Fingerprint, made: Timestamp) -> Authority {
        Authority { key, made, ends: made + DAY * 3650 }
    }

    fn node(name: &str, issuer: Fingerprint, trusts: &[Fingerprint], ends: Timestamp) -> (NodeId, Holding) {
        (NodeId(name.into()), Holding { issuer, ends, trusts: trusts.iter().copied().collect() })
    }

    fn decide(
        bundle: &[Authority],
        nodes: &[(NodeId, Holding)],
        successor: Option<Fingerprint>,
        asked: bool,
    ) -> Action {
        let nodes = nodes.iter().cloned().collect();
        next(&Picture { bundle, nodes: &nodes, successor, asked, lifetime: DAY }, NOW)
    }

    #[test]
    fn a_fingerprint_reads_back_and_anything_else_does_not() {
        assert_eq!(NEW.to_string().parse(), Ok(NEW));
        for text in ["", "02", &"zz".repeat(32), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NotAFingerprint), "{text}");
        }
    }

    #[test]
    fn nothing_is_replaced_without_need() {
        let young = [authority(OLD, NOW)];
        assert_eq!(decide(&[], &[], None, true), Action::Wait { until: None });
        assert!(matches!(decide(&young, &[], None, false), Action::Wait { until: Some(at) } if at > NOW + DAY * 3000));
        assert_eq!(decide(&young, &[], None, true), Action::Generate);
        let aged = [Authority { ends: NOW + DAY * 300, ..authority(OLD, NOW) }];
        assert_eq!(decide(&aged, &[], None, false), Action::Generate);
        assert_eq!(decide(&aged, &[], Some(NEW), false), Action::Publish(NEW));
    }

    #[test]
    fn the_new_one_signs_only_once_every_node_with_a_certificate_trusts_it() {
        let bundle = [authority(OLD, BEFORE), authority(NEW, NOW)];
        let knows = node("a", OLD, &[OLD, NEW], NOW + DAY);
        let unaware = node("b", OLD, &[OLD], NOW + DAY);
        let gone = node("c", OLD, &[], NOW);
        let wait = Action::Wait { until: Some(NOW + DAY + SETTLE) };
        assert_eq!(decide(&bundle, &[knows.clone(), unaware], Some(NEW), false), wait);
        assert_eq!(decide(&bundle, &[knows, gone], Some(NEW), false), Action::Sign(NEW));
        let silent = node("d", OLD, &[], NOW + DAY);
        let settled = [authority(OLD, Timestamp(0)), authority(NEW, Timestamp(NOW.0 - 86_400_000_000 - 600_000_000))];
        assert_eq!(decide(&settled, &[silent], Some(NEW), false), Action::Sign(NEW), "nobody can hold it up for ever");
    }

    #[test]
    fn a_successor_whose_key_is_lost_is_taken_back() {
        let bundle = [authority(OLD, BEFORE), authority(NEW, NOW)];
        assert_eq!(decide(&bundle, &[], None, true), Action::Forget(NEW));
    }

    #[test]
    fn the_old_one_is_forgotten_when_its_last_certificate_is_renewed_or_over() {
        let bundle = [authority(NEW, NOW), authority(OLD, BEFORE)];
        assert_eq!(phase(&bundle), Phase::SignNew { old: OLD });
        let renewed = node("a", NEW, &[], NOW + DAY);
        let late = node("b", OLD, &[], NOW + Duration::from_hours(2));
        let over = node("c", OLD, &[], NOW);
        let wait = Action::Wait { until: Some(NOW + Duration::from_hours(2)) };
        assert_eq!(decide(&bundle, &[renewed.clone(), late], None, false), wait);
        assert_eq!(decide(&bundle, &[renewed, over], None, false), Action::Forget(OLD));
        assert_eq!(decide(&bundle[..1], &[], None, false), decide(&[authority(NEW, NOW)], &[], None, false));
    }
}
