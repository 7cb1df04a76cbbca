//! Certificates of simulated nodes are renewed over the mesh, from the nodes that have the authority's key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::{Desk, pause};
use crate::mesh::address::{Address, Class, Refusal};
use crate::mesh::exports::{Handler, Protocol};
use crate::model::{NodeId, Timestamp};
use crate::sim::mesh::authority::{LEAF_LIFETIME, Leaf};
use crate::sim::mesh::net::SimNet;
use crate::sim::mesh::time::NodeClock;
use crate::world::clock::Clock as _;
use crate::world::entropy::Rng;

/// The actor that signs certificates.
pub const CERTIFIER: &str = "certifier";
/// How long a node waits for its new certificate.
const DEADLINE: Duration = Duration::from_secs(2);

/// Messages of the certifier.
pub struct Certifying;

impl Protocol for Certifying {
    const ACTOR: &'static str = CERTIFIER;
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = ();
    type Answer = Signed;
}

/// A certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signed {
    /// From then.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
}

/// Signs for whoever asks and is not revoked.
pub struct Certifier {
    /// Where the certifier's machine keeps whom it refuses.
    pub net: SimNet,
    /// Its machine.
    pub slot: usize,
    /// Its cluster.
    pub cluster: u32,
    /// Its clock.
    pub clock: Arc<NodeClock>,
}

#[async_trait]
impl Handler<Certifying> for Certifier {
    async fn handle(&self, from: &NodeId, _request: ()) -> Result<Signed, Refusal> {
        if self.net.papers(self.slot, |papers| papers.revoked.contains(from)) == Some(true) {
            return Err(Refusal::Forbidden("revoked".into()));
        }
        let leaf = Leaf::issue(from, self.cluster, self.clock.now());
        Ok(Signed { not_before: leaf.not_before, not_after: leaf.not_after })
    }
}

/// Renews this node's certificate for ever, asking `certifiers`.
pub async fn renew_for_ever(desk: Desk, certifiers: Vec<NodeId>, mut rng: Rng) {
    loop {
        pause(&mut rng, 500, 2_000).await;
        let ends = desk.net.papers(desk.slot, |papers| papers.leaf.not_after).unwrap_or_default();
        if ends.since(desk.clock.now()) > LEAF_LIFETIME.mul_f64(rng.random_range(0.3..0.5)) {
            continue;
        }
        let Some(certifier) = certifiers.get(rng.random_range(0..certifiers.len().max(1))) else { return };
        let signed = desk.mesh.call::<Certifying>(&Address::new(certifier, CERTIFIER), (), DEADLINE).await;
        desk.shared.trace.note(format!("{} asks {certifier} for a certificate: {signed:?}", desk.who.node));
        if let Ok(Signed { not_before, not_after }) = signed {
            let leaf = Leaf { node: desk.who.node.clone(), cluster: desk.cluster, not_before, not_after };
            desk.net.papers(desk.slot, |papers| papers.leaf = leaf);
        }
    }
}
