//! Joining: a new node asks its seeds, one after the other, until one lets it in or says no for good.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::remembered::{self, ClusterFacts, Remembered};
use crate::actors::settings::NodeSettings;
use crate::mesh::identity::{
    self, ADMIN, ADMINS_GROUP, Adoption, Bundle, Credential, Identity, JoinToken, Subject, client_request,
    pinned_client_config, request,
};
use crate::mesh::join::{self, Admission, Capacity, JOIN_PROTOCOL, JoinAnswer, JoinRefusal, JoinRequest};
use crate::mesh::quic::ALPN_JOIN;
use crate::mesh::version::spoken;
use crate::model::NodeId;
use crate::runtime::machine;
use crate::world::World;

/// How long one seed may take.
const ONE_SEED: Duration = Duration::from_secs(8);
/// Rounds through the seeds; the cluster may be busy, or without its quorum for a moment.
const ROUNDS: usize = 3;
/// Pause between rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the node did not join. Its data directory is as it was, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token was given.
    #[error("joining needs a token: make one with `shoal token create` on a member and give it with --token")]
    NoToken,
    /// The token is none.
    #[error("the join token cannot be used: {0}")]
    Token(#[from] identity::token::ParseError),
    /// A seed's name has no address.
    #[error("the seed {seed:?} cannot be found: {reason}")]
    Seed {
        /// As it was given.
        seed: String,
        /// Why not.
        reason: String,
    },
    /// The cluster says no.
    #[error("the cluster does not let this node in: {0}")]
    Refused(JoinRefusal),
    /// No seed could be asked.
    #[error("no seed lets this node in; the last one: {0}")]
    Seeds(#[source] join::Error),
    /// The seeds have nothing to say about it for now.
    #[error("the seeds cannot let this node in now: {0}; try again")]
    Later(JoinRefusal),
    /// What the cluster gave cannot be used. The token counts one use more.
    #[error("the cluster's answer cannot be used: {0}")]
    Answer(String),
    /// Keys could not be made or kept.
    #[error("the node's keys cannot be kept")]
    Identity(#[from] identity::Error),
    /// The node's place could not be written down.
    #[error("the node's place in the cluster cannot be kept")]
    Remember(#[from] remembered::Error),
}

/// Keys that never leave this node, and what is asked for them.
struct Asked {
    request: JoinRequest,
    node_key_pem: String,
    admin_key_pem: String,
}

/// Joins through the seeds of the settings; what the cluster gives is on disk when this returns.
///
/// # Errors
/// See [`Error`].
pub async fn join(settings: &NodeSettings, subject: &Subject, world: &World) -> Result<(Identity, Remembered), Error> {
    let token = settings.mesh.token.as_ref().ok_or(Error::NoToken)?.reveal().parse::<JoinToken>()?;
    let mut seeds = Vec::new();
    for seed in &settings.mesh.join {
        seeds.extend(resolve(seed).await?);
    }
    let asked = ask_for(settings, subject, &token)?;
    let admission = knock(&seeds, &asked.request, &token, world).await?;
    keep(&settings.data, settings, asked, admission)
}

/// The addresses of a seed.
async fn resolve(seed: &str) -> Result<Vec<SocketAddr>, Error> {
    let failed = |reason: String| Error::Seed { seed: seed.to_owned(), reason };
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host(seed).await.map_err(|error| failed(error.to_string()))?.collect();
    if found.is_empty() { Err(failed("it has no address".into())) } else { Ok(found) }
}

fn ask_for(settings: &NodeSettings, subject: &Subject, token: &JoinToken) -> Result<Asked, Error> {
    let (node_key_pem, node_csr_pem) = request(subject)?;
    let (admin_key_pem, admin_csr_pem) = client_request(ADMIN, ADMINS_GROUP)?;
    let facts = machine::facts(&settings.data);
    let request = JoinRequest {
        protocol: JOIN_PROTOCOL,
        token: token.presented(),
        name: NodeId(settings.name.as_str().into()),
        addresses: settings.mesh.advertise.clone(),
        release: env!("CARGO_PKG_VERSION").into(),
        node_csr_pem,
        admin_csr_pem,
        zone: settings.mesh.zone.clone(),
        mesh: spoken(),
        capacity: Capacity { millicores: facts.cpus * 1000, memory_bytes: facts.memory_bytes },
        pod_cidr: settings.network.pod_cidr.map(|range| range.to_string()).unwrap_or_default(),
    };
    Ok(Asked { request, node_key_pem, admin_key_pem })
}

async fn knock(
    seeds: &[SocketAddr],
    request: &JoinRequest,
    token: &JoinToken,
    world: &World,
) -> Result<Admission, Error> {
    let bytes: Bytes = join::encode(request).map_err(|error| Error::Answer(error.to_string()))?.into();
    let mut last = None;
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        for seed in seeds {
            let tls = pinned_client_config(token.fingerprint, &[ALPN_JOIN], world.clock.clone())?;
            let answer = match join::ask(*seed, tls, bytes.clone(), ONE_SEED).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(%seed, %error, "a seed did not let this node in");
                    last = Some(Error::Seeds(error));
                    continue;
                }
            };
            match join::decode(&answer).map_err(|error| Error::Answer(error.to_string()))? {
                JoinAnswer::Admitted(admission) => return Ok(*admission),
                JoinAnswer::Refused { reason: reason @ (JoinRefusal::Busy | JoinRefusal::NoQuorum) } => {
                    last = Some(Error::Later(reason));
                }
                JoinAnswer::Refused { reason } => return Err(Error::Refused(reason)),
            }
        }
        // Another cluster stays another cluster.
        if let Some(Error::Seeds(join::Error::Foreign { .. })) = &last {
            break;
        }
    }
    Err(last.unwrap_or(Error::Answer("there is no seed to ask".into())))
}

fn keep(
    data: &Path,
    settings: &NodeSettings,
    asked: Asked,
    admission: Admission,
) -> Result<(Identity, Remembered), Error> {
    let bundle = Bundle::from_pem(&admission.authorities_pem).map_err(|error| Error::Answer(error.to_string()))?;
    let admin = (!admission.admin_chain_pem.is_empty())
        .then(|| Credential { certificate_pem: admission.admin_chain_pem.clone(), key_pem: asked.admin_key_pem });
    let node = Credential { certificate_pem: admission.node_chain_pem.clone(), key_pem: asked.node_key_pem };
    let identity = Identity::adopt(&data.join("pki"), &admission.name, Adoption { node, bundle, admin })?;
    let peers = admission.peers.into_iter().map(|(node, at)| (node.to_string(), at));
    let mut remembered = Remembered {
        name: settings.name.clone(),
        founder: false,
        raft_id: admission.raft_id,
        pod_cidr: admission.network.pod_cidr,
        cluster: ClusterFacts {
            cluster_cidr: admission.network.cluster_cidr,
            service_cidr: admission.network.service_cidr,
            cluster_domain: admission.network.cluster_domain,
        },
        generation: 0,
        peers: std::collections::BTreeMap::new(),
        former: None,
    };
    remembered.meet(peers);
    remembered.save(data)?;
    Ok((identity, remembered))
}
