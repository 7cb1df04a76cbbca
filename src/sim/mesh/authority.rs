//! Certificates, tokens and revocations of simulated clusters: plain values, judged by the shipped decisions.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{NodeId, Timestamp};

/// How long a node's certificate lives: short, so that a run sees many renewals.
pub const LEAF_LIFETIME: Duration = Duration::from_mins(2);
/// How far clocks may be apart: a certificate begins this much before it is made.
pub const SKEW: Duration = Duration::from_secs(5);

/// A node's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whose.
    pub node: NodeId,
    /// Who signed it.
    pub cluster: u32,
    /// From then.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
}

impl Leaf {
    /// A certificate made now.
    pub fn issue(node: &NodeId, cluster: u32, now: Timestamp) -> Self {
        let before = i64::try_from(SKEW.as_micros()).unwrap_or(0);
        Self { node: node.clone(), cluster, not_before: Timestamp(now.0 - before), not_after: now + LEAF_LIFETIME }
    }
}

/// What a machine shows and what it judges others by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Papers {
    /// The cluster whose authority it trusts.
    pub cluster: u32,
    /// Its own certificate.
    pub leaf: Leaf,
    /// Nodes that it has been told not to accept.
    pub revoked: BTreeSet<NodeId>,
}

/// Whether `judge`, whose clock shows `now`, accepts the certificate that `shows` has, as that of `expected`.
pub fn verdict(judge: &Papers, now: Timestamp, shows: &Papers, expected: Option<&NodeId>) -> Result<(), String> {
    let leaf = &shows.leaf;
    if leaf.cluster != judge.cluster {
        return Err("signed by a stranger".into());
    }
    if expected.is_some_and(|expected| leaf.node != *expected) {
        return Err(format!("it is {}", leaf.node));
    }
    if now < leaf.not_before || now > leaf.not_after {
        return Err(format!("the certificate of {} is good from {} to {}", leaf.node, leaf.not_before, leaf.not_after));
    }
    if judge.revoked.contains(&leaf.node) {
        return Err(format!("{} is revoked", leaf.node));
    }
    Ok(())
}
