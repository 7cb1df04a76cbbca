//! Certificates of simulated clusters: real ones, judged by the shipped verifiers in a real handshake, without a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::time::ORIGIN;
use crate::mesh::identity::{Authority, Bundle, Credential, LiveIdentity, Revocations, Subject};
use crate::model::{NodeId, Timestamp};
use crate::world::clock::Clock;

/// How long a node's certificate lives: short, so that a run sees many renewals.
pub const LEAF_LIFETIME: Duration = Duration::from_mins(2);
/// How long a certificate lives that nobody renews.
const LASTING: Duration = Duration::from_hours(300 * 24);
/// A revocation refuses certificates made until so long after it: nobody's clock is further ahead.
const REVOKES_AHEAD: Duration = Duration::from_hours(24);
/// Turns that a handshake takes at most.
const TURNS: usize = 10;
/// The protocol that both sides speak.
const PROTOCOL: &[u8] = b"shoal";

/// The authority of each cluster. Cheap to clone.
#[derive(Clone)]
pub struct Authorities(Arc<BTreeMap<u32, Authority>>);

impl Authorities {
    /// One for each of the first `clusters` clusters.
    pub fn generate(clusters: u32) -> Result<Self, String> {
        let made = (0..clusters).map(|cluster| Ok((cluster, Authority::generate(ORIGIN).map_err(told)?)));
        Ok(Self(Arc::new(made.collect::<Result<_, String>>()?)))
    }

    /// The authority of a cluster.
    pub fn of(&self, cluster: u32) -> Result<&Authority, String> {
        self.0.get(&cluster).ok_or_else(|| format!("there is no cluster {cluster}"))
    }

    /// A certificate with a new key, made now by the clock of whoever signs.
    pub fn issue(&self, node: &NodeId, cluster: u32, now: Timestamp) -> Result<Credential, String> {
        self.of(cluster)?.issue_node(&subject(node), LEAF_LIFETIME, now).map_err(told)
    }

    /// What a node of a cluster shows and believes, judged by its own clock.
    pub fn papers(&self, node: &NodeId, cluster: u32, now: Timestamp, clock: Arc<dyn Clock>) -> Result<Papers, String> {
        self.papers_of(cluster, node, &self.issue(node, cluster, now)?, clock)
    }

    /// The same with a certificate that outlives any run.
    pub fn lasting_papers(&self, node: &NodeId, clock: Arc<dyn Clock>) -> Result<Papers, String> {
        let credential = self.of(0)?.issue_node(&subject(node), LASTING, ORIGIN).map_err(told)?;
        self.papers_of(0, node, &credential, clock)
    }

    fn papers_of(
        &self,
        cluster: u32,
        node: &NodeId,
        credential: &Credential,
        clock: Arc<dyn Clock>,
    ) -> Result<Papers, String> {
        let bundle = Bundle::from_pem(self.of(cluster)?.certificate_pem()).map_err(told)?;
        let live = LiveIdentity::of(node, credential, bundle, Revocations::default(), clock).map_err(told)?;
        Ok(Papers { cluster, live })
    }
}

/// What a machine shows and what it judges others by.
#[derive(Debug, Clone)]
pub struct Papers {
    /// Its cluster.
    pub cluster: u32,
    /// Its identity.
    pub live: LiveIdentity,
}

impl Papers {
    /// The name in its certificate.
    pub fn node(&self) -> &NodeId {
        self.live.name()
    }

    /// When its certificate ends.
    pub fn ends(&self) -> Timestamp {
        self.live.certificate().not_after
    }

    /// Whether its certificates are refused by `judge`.
    pub fn is_refused_by(&self, judge: &Self) -> bool {
        judge.live.revocations().refuse(self.node(), self.live.certificate().issued)
    }

    /// Refuses a node from now on.
    pub fn revoke(&self, node: &NodeId, now: Timestamp) {
        let mut revocations = (*self.live.revocations()).clone();
        if revocations.revoke(node, now + REVOKES_AHEAD).is_ok() {
            self.live.revoke(revocations);
        }
    }

    /// The nodes that are refused.
    pub fn revoked(&self) -> Vec<NodeId> {
        self.live.revocations().iter().map(|(node, _)| node.clone()).collect()
    }
}

/// What a node's certificate says.
pub fn subject(node: &NodeId) -> Subject {
    Subject {
        node: node.0.to_string(),
        names: Vec::new(),
        addresses: Vec::new(),
        cluster_domain: "cluster.local".into(),
    }
}

/// Whether two machines accept each other, the dialler expecting `expected`: a TLS handshake as their configurations
/// have it, and what both then ask of the certificates.
pub fn handshake(dialler: &Papers, accepter: &Papers, expected: &NodeId) -> Result<(), String> {
    let name = ServerName::try_from(expected.0.to_string()).map_err(told)?;
    let config = dialler.live.client_config(&[PROTOCOL]).map_err(told)?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(told)?;
    let config = accepter.live.server_config(&[PROTOCOL]).map_err(told)?;
    let mut server = ServerConnection::new(Arc::new(config)).map_err(told)?;
    for _ in 0..TURNS {
        pass(&mut client, &mut server).map_err(|reason| format!("it is refused: {reason}"))?;
        pass(&mut server, &mut client)?;
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() && !server.wants_write() {
            break;
        }
    }
    let shown = server.peer_certificates().unwrap_or_default();
    let by = accepter.live.peer_of(shown).map_err(told)?;
    let to = dialler.live.peer_of(client.peer_certificates().unwrap_or_default()).map_err(told)?;
    if by.node == *dialler.node() && to.node == *accepter.node() { Ok(()) } else { Err("names differ".into()) }
}

/// Hands over what one side has to say.
fn pass<A, B, X, Y>(from: &mut A, to: &mut B) -> Result<(), String>
where
    A: std::ops::DerefMut<Target = rustls::ConnectionCommon<X>>,
    B: std::ops::DerefMut<Target = rustls::ConnectionCommon<Y>>,
    X: rustls::SideData,
    Y: rustls::SideData,
{
    let mut said = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut said).map_err(told)?;
    }
    let mut rest = said.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).map_err(told)?;
        to.process_new_packets().map_err(told)?;
    }
    Ok(())
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
