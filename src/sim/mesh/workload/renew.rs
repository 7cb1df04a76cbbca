//! Certificates of simulated nodes are renewed over the mesh, from the nodes that have the authority's key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::{Desk, Shared, pause};
use crate::mesh::address::{Address, Class, Refusal};
use crate::mesh::exports::{Handler, Protocol};
use crate::mesh::identity::{Credential, request};
use crate::model::NodeId;
use crate::sim::mesh::authority::{Authorities, LEAF_LIFETIME, subject};
use crate::sim::mesh::net::SimNet;
use crate::sim::mesh::time::NodeClock;
use crate::world::clock::Clock as _;
use crate::world::entropy::Rng;

/// The actor that signs certificates.
pub const CERTIFIER: &str = "certifier";
/// How long a node waits for its new certificate.
const DEADLINE: Duration = Duration::from_secs(2);
/// Share of requests that ask for a name that is not the node's own.
const STRAYS: f64 = 0.2;

/// Messages of the certifier: a request for a certificate, and the chain.
pub struct Certifying;

impl Protocol for Certifying {
    const ACTOR: &'static str = CERTIFIER;
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = Wanted;
    type Answer = String;
}

/// A request for a certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wanted {
    /// The request, PEM.
    pub request_pem: String,
    /// Whether it asks for a name that is not the node's own: for the history, not for the signer.
    pub strays: bool,
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
    /// The keys.
    pub authorities: Authorities,
    /// Where it writes down whom it has signed for.
    pub shared: Shared,
}

#[async_trait]
impl Handler<Certifying> for Certifier {
    async fn handle(&self, from: &NodeId, wanted: Wanted) -> Result<String, Refusal> {
        if self.net.papers(self.slot, |papers| papers.revoked().contains(from)) == Some(true) {
            return Err(Refusal::Forbidden("revoked".into()));
        }
        let authority = self.authorities.of(self.cluster).map_err(Refusal::Failed)?;
        let signed = authority.sign_node(&wanted.request_pem, &subject(from), LEAF_LIFETIME, self.clock.now());
        let chain = signed.map_err(|error| Refusal::Forbidden(error.to_string()))?;
        let at = self.clock.global();
        self.shared.history.lock().signed.push((at, from.clone(), wanted.strays));
        Ok(chain)
    }
}

/// Renews this node's certificate for ever, asking `certifiers`.
pub async fn renew_for_ever(desk: Desk, certifiers: Vec<NodeId>, mut rng: Rng) {
    loop {
        pause(&mut rng, 500, 2_000).await;
        let ends = desk.net.papers(desk.slot, |papers| papers.ends()).unwrap_or_default();
        if ends.since(desk.clock.now()) > LEAF_LIFETIME.mul_f64(rng.random_range(0.3..0.5)) {
            continue;
        }
        let Some(certifier) = certifiers.get(rng.random_range(0..certifiers.len().max(1))) else { return };
        let strays = rng.random_bool(STRAYS);
        let mut wished = subject(&desk.who.node);
        if strays {
            wished.names.push("n0".into());
            wished.names.push("somebody".into());
        }
        let Ok((key_pem, request_pem)) = request(&wished) else { continue };
        let wanted = Wanted { request_pem, strays };
        let signed = desk.mesh.call::<Certifying>(&Address::new(certifier, CERTIFIER), wanted, DEADLINE).await;
        let come = signed.as_ref().map_or_else(ToString::to_string, |_| "signed".into());
        desk.shared.trace.note(format!("{} asks {certifier} for a certificate: {come}", desk.who.node));
        if let Ok(certificate_pem) = signed {
            let credential = Credential { certificate_pem, key_pem };
            let renewed = desk.net.papers(desk.slot, |papers| papers.live.renew(&credential).is_ok());
            desk.shared.trace.note(format!("{} has a new certificate: {renewed:?}", desk.who.node));
        }
    }
}
