//! A node's place: the founder of a cluster, a node that joins one, or one that has a place already.

use crate::actors::node::joining;
use crate::actors::node::remembered::{ClusterFacts, Remembered};
use crate::actors::settings::NodeSettings;
use crate::mesh::identity::{Identity, Lifetimes, Subject};
use crate::mesh::membership::generation;
use crate::model::Cidr;
use crate::store::raft::FIRST_VOTER;
use crate::world::World;

use super::Error;

/// Who this node is, and where it stands.
pub struct Place {
    /// Keys and certificates.
    pub identity: Identity,
    /// Its place in the cluster; already on disk, with this start's generation.
    pub remembered: Remembered,
    /// How its certificate names it.
    pub subject: Subject,
    /// Addresses of its pods.
    pub pod_cidr: Cidr,
    /// Addresses of the cluster's services.
    pub service_cidr: Cidr,
    /// Whether it joined just now: nothing is known of the cluster yet.
    pub joined_now: bool,
    /// Why its replica began anew with this start, where it did.
    pub rejoined: Option<String>,
}

impl Place {
    /// Whether this node has nothing of the cluster's objects yet.
    pub fn is_new(&self) -> bool {
        self.joined_now || self.rejoined.is_some()
    }
}

/// How long certificates live.
pub fn lifetimes(settings: &NodeSettings) -> Lifetimes {
    Lifetimes { node: settings.mesh.certificate_lifetime, ..Lifetimes::default() }
}

/// Takes the place that the data directory has; else joins where the settings name seeds, and founds a cluster where
/// they do not.
///
/// # Errors
/// See [`Error`]; a node that could not join has changed nothing that would keep it from joining later.
pub async fn take(settings: &NodeSettings, world: &World) -> Result<Place, Error> {
    let (identity, mut remembered, joined_now) = match Remembered::load(&settings.data)? {
        Some(remembered) => (load(settings, &remembered, world)?, remembered, false),
        None if settings.mesh.join.is_empty() || has_authority(settings) => found(settings, world)?,
        None => {
            let subject = subject(settings, settings.network.service_cidr, &settings.cluster_domain);
            let (identity, remembered) = joining::join(settings, &subject, world).await?;
            (identity, remembered, true)
        }
    };
    let previous = Some(remembered.generation).filter(|generation| *generation > 0);
    remembered.generation = generation::next(previous, world.clock.now());
    remembered.save(&settings.data)?;
    let service_cidr = parse(&remembered.cluster.service_cidr)?;
    Ok(Place {
        subject: subject(settings, service_cidr, &remembered.cluster.cluster_domain),
        pod_cidr: parse(&remembered.pod_cidr)?,
        service_cidr,
        identity,
        remembered,
        joined_now,
        rejoined: None,
    })
}

/// A directory of a release that knew no clusters is a founder's.
fn has_authority(settings: &NodeSettings) -> bool {
    settings.data.join("pki/ca.key").exists()
}

fn found(settings: &NodeSettings, world: &World) -> Result<(Identity, Remembered, bool), Error> {
    let network = &settings.network;
    let subject = subject(settings, network.service_cidr, &settings.cluster_domain);
    let pki = settings.data.join("pki");
    let identity = Identity::found(&pki, &subject, &lifetimes(settings), world.clock.now())?;
    let remembered = Remembered {
        name: settings.name.clone(),
        founder: true,
        raft_id: FIRST_VOTER,
        pod_cidr: network.own_pod_cidr().to_string(),
        cluster: ClusterFacts {
            cluster_cidr: network.cluster_cidr.to_string(),
            service_cidr: network.service_cidr.to_string(),
            cluster_domain: settings.cluster_domain.clone(),
        },
        generation: 0,
        peers: std::collections::BTreeMap::new(),
        former: None,
    };
    Ok((identity, remembered, false))
}

fn load(settings: &NodeSettings, remembered: &Remembered, world: &World) -> Result<Identity, Error> {
    if remembered.name != settings.name {
        return Err(Error::Renamed { was: remembered.name.clone(), is: settings.name.clone() });
    }
    let subject = subject(settings, parse(&remembered.cluster.service_cidr)?, &remembered.cluster.cluster_domain);
    let pki = settings.data.join("pki");
    let found = Identity::load(&pki, &subject, &lifetimes(settings), world.clock.now())?;
    found.ok_or(Error::NoKeys { directory: pki.display().to_string() })
}

fn subject(settings: &NodeSettings, services: Cidr, domain: &str) -> Subject {
    let addresses = [Some(settings.address), Some(settings.listen.ip()), services.nth(1)];
    let told = settings.mesh.advertise.iter().map(std::net::SocketAddr::ip);
    let mut addresses: Vec<_> = addresses.into_iter().flatten().chain(told).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Subject { node: settings.name.clone(), names: Vec::new(), addresses, cluster_domain: domain.to_owned() }
}

fn parse(range: &str) -> Result<Cidr, Error> {
    range.parse().map_err(|_| Error::Range(range.to_owned()))
}
