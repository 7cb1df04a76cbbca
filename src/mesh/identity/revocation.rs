//! Who is refused: nodes whose certificates made before some time count no more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::issue::is_node_name;
use super::{CLOCK_SKEW, PeerName};
use crate::model::{NodeId, Timestamp};

/// Most nodes that are refused at a time. With names of 253 bytes they still fit the 1 MiB of a `ConfigMap`.
pub const MAX_REVOCATIONS: usize = 3_072;

/// Why revocations cannot be read or added to. What was there stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The bound is reached; [`Revocations::prune`] first.
    #[error("{MAX_REVOCATIONS} nodes are revoked already")]
    Full,
    /// An entry is not a name with a time.
    #[error("the revocation of {0:?} cannot be read")]
    Malformed(String),
}

/// Node → time: its certificates made before then are refused. A node that joins again gets one made later, and is
/// taken. Kept as data of `ConfigMap` `kube-system/shoal-revoked`: name → RFC 3339 time with microseconds.
///
/// When a certificate was made is told by its signer's clock ([`super::Certificate::issued`]), the time here by the
/// revoker's: where these differ, a certificate made within the difference may be judged wrongly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations(BTreeMap<NodeId, Timestamp>);

impl Revocations {
    /// Refuses certificates of `node` made before `before`; an earlier revocation never weakens a later one.
    pub fn revoke(&mut self, node: &NodeId, before: Timestamp) -> Result<(), RevocationError> {
        if self.0.len() >= MAX_REVOCATIONS && !self.0.contains_key(node) {
            return Err(RevocationError::Full);
        }
        let entry = self.0.entry(node.clone()).or_insert(before);
        *entry = before.max(*entry);
        Ok(())
    }

    /// Whether a certificate of `node` made at `issued` is refused.
    pub fn refuse(&self, node: &NodeId, issued: Timestamp) -> bool {
        self.0.get(node).is_some_and(|before| issued < *before)
    }

    /// Whether the peer's certificate is refused.
    pub fn refuse_peer(&self, peer: &PeerName) -> bool {
        self.refuse(&peer.node, peer.issued)
    }

    /// Nodes with their times, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, Timestamp)> {
        self.0.iter().map(|(node, before)| (node, *before))
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without entries that refuse nothing any more: every certificate made before has ended, where none lives longer
    /// than `lifetime`.
    #[must_use]
    pub fn prune(&self, lifetime: Duration, now: Timestamp) -> Self {
        let useful = |before: &Timestamp| *before + lifetime + CLOCK_SKEW > now;
        Self(self.0.iter().filter(|(_, before)| useful(before)).map(|(node, before)| (node.clone(), *before)).collect())
    }

    /// As the `ConfigMap`'s data.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(node, before)| (node.to_string(), before.rfc3339_micro())).collect()
    }

    /// From the `ConfigMap`'s data.
    ///
    /// # Errors
    /// Where an entry cannot be read or there are too many: nobody is let in by mistake.
    pub fn from_data(data: &BTreeMap<String, String>) -> Result<Self, RevocationError> {
        if data.len() > MAX_REVOCATIONS {
            return Err(RevocationError::Full);
        }
        let read = |(name, text): (&String, &String)| {
            let before = Timestamp::parse(text).filter(|_| is_node_name(name));
            let before = before.ok_or_else(|| RevocationError::Malformed(name.clone()))?;
            Ok((NodeId(name.as_str().into()), before))
        };
        data.iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_123_456);

    fn node(name: &str) -> NodeId {
        NodeId(name.into())
    }

    #[test]
    fn only_certificates_made_before_are_refused_and_the_latest_time_counts() {
        let mut revoked = Revocations::default();
        revoked.revoke(&node("a"), NOW).unwrap();
        revoked.revoke(&node("a"), Timestamp(NOW.0 - 5)).unwrap();
        assert!(revoked.refuse(&node("a"), Timestamp(NOW.0 - 1)));
        assert!(!revoked.refuse(&node("a"), NOW));
        assert!(!revoked.refuse(&node("b"), Timestamp(0)));
    }

    #[test]
    fn they_read_back_to_the_microsecond_and_a_broken_entry_is_an_error() {
        let mut revoked = Revocations::default();
        revoked.revoke(&node("a.example"), NOW).unwrap();
        let mut data = revoked.to_data();
        assert_eq!(data["a.example"], NOW.rfc3339_micro());
        assert_eq!(Revocations::from_data(&data), Ok(revoked));
        data.insert("b".into(), "soon".into());
        assert_eq!(Revocations::from_data(&data), Err(RevocationError::Malformed("b".into())));
        let odd = BTreeMap::from([("B/..".to_owned(), NOW.rfc3339())]);
        assert!(Revocations::from_data(&odd).is_err());
    }

    #[test]
    fn they_are_bounded_and_pruned_once_every_certificate_has_ended() {
        let mut revoked = Revocations::default();
        for index in 0..MAX_REVOCATIONS {
            revoked.revoke(&node(&format!("n{index}")), NOW).unwrap();
        }
        assert_eq!(revoked.revoke(&node("more"), NOW), Err(RevocationError::Full));
        assert_eq!(revoked.revoke(&node("n0"), NOW + CLOCK_SKEW), Ok(()));
        let day = Duration::from_hours(24);
        assert_eq!(revoked.prune(day, NOW + day).len(), MAX_REVOCATIONS);
        assert_eq!(revoked.prune(day, NOW + day + CLOCK_SKEW).len(), 1);
    }
}
