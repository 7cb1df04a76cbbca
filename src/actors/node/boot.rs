//! Makes the real parts of a node from its settings, and starts it.
//!
//! Rooms: `place` founder, newcomer or member; `body` the port and the mesh; `ground` containers and networks; `share`
//! what it does for its cluster.

mod body;
pub mod ground;
mod place;
mod share;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::remembered::Remembered;
use super::restart::Restarts;
use super::{Node, NodeParts, joining, rejoin, remembered};
use crate::actors::agent::ImagePuller;
use crate::actors::agent::parts::{Machine as NodeMachine, NodeSettings as AgentSettings};
use crate::actors::cluster::replicas::{self, MeshPeers};
use crate::actors::service::Service as Task;
use crate::actors::settings::NodeSettings;
use crate::actors::supervisor::Child;
use crate::api::admission::ServiceAddresses;
use crate::api::listen::{self, Listeners};
use crate::api::service::{Limits, Service};
use crate::kube::schema;
use crate::mesh::handle::Mesh;
use crate::mesh::{identity, quic};
use crate::model::{Cidr, Revision};
use crate::plan::liveness::decide_after;
use crate::runtime::images::toolbox;
use crate::runtime::{self, machine};
use crate::store::recovery::Rebuild;
use crate::store::{self, Role, Store, StoreOptions};
use crate::world::World;
use crate::world::clock::SystemClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SystemEntropy;
use ground::Ground;
use place::Place;

/// How long a node that joined waits for the objects of its cluster.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long a node that comes back waits for what it missed; it goes on with what it has.
const CATCH_UP_AGAIN: Duration = Duration::from_secs(3);

/// Why a node did not start. Nothing that ran before was touched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates.
    #[error("the node's certificates cannot be used")]
    Identity(#[from] identity::Error),
    /// The node's place in its cluster.
    #[error(transparent)]
    Remembered(#[from] remembered::Error),
    /// The cluster was not joined.
    #[error("this node did not join the cluster")]
    Join(#[from] joining::Error),
    /// The data belongs to another name.
    #[error(
        "the data directory is that of node {was:?}, not of {is:?}: a node keeps its name; use another directory for another node"
    )]
    Renamed {
        /// The name of the data.
        was: String,
        /// The name of the settings.
        is: String,
    },
    /// A place without keys.
    #[error(
        "this node is a member of a cluster, but its keys are not in {directory}: restore them, or remove the data directory and join again"
    )]
    NoKeys {
        /// Where they should be.
        directory: String,
    },
    /// An address range that is none.
    #[error("{0:?} is not an address range")]
    Range(String),
    /// The cluster's objects did not come.
    #[error("the cluster let this node in, but nothing came from its leader within {} s: others must reach UDP port {port} of this node", CATCH_UP.as_secs())]
    NoObjects {
        /// The port.
        port: u16,
    },
    /// Store.
    #[error("the store in {dir} cannot be opened")]
    Store {
        /// Its directory.
        dir: String,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// Runtime or pod network.
    #[error("containers cannot be run here")]
    Runtime(#[from] runtime::Error),
    /// Probes' TLS.
    #[error("probes cannot be set up")]
    Prober(#[from] rustls::Error),
    /// Listeners.
    #[error("the API cannot be served")]
    Listen(#[from] listen::Error),
    /// The port of UDP.
    #[error("the mesh cannot be served")]
    Bind(#[from] quic::BindError),
    /// A new beginning.
    #[error("this node must begin anew, and cannot")]
    Rejoin(#[from] rejoin::Error),
    /// Files.
    #[error("the data directory cannot be used")]
    Io(#[from] std::io::Error),
    /// Actors.
    #[error("the node's actors did not start")]
    Spawn(#[from] ractor::SpawnErr),
}

/// Starts a node as `settings` say. The API serves when this returns; the node becomes Ready soon after.
///
/// # Errors
/// See [`Error`].
pub async fn start(settings: &NodeSettings, restarts: &Restarts) -> Result<Node, Error> {
    let world = world();
    // The first write needs the shapes of all types: compiled while the disk and the machine answer.
    drop(tokio::task::spawn_blocking(|| schema::knows("")));
    let mut place = place::take(settings, &world).await?;
    place.identity.write_admin_kubeconfig(&settings.data.join("admin.kubeconfig"), &url(settings))?;
    let mut body = body::start(settings, &place, &world).await?;
    let tasks = body.take_tasks();
    let pod_cidr = place.pod_cidr;
    let store = open_store(settings, &mut place, &body.mesh, &world);
    let (store, ground) = futures::try_join!(store, ground::ground(settings, pod_cidr, &world))?;
    replicas::export(body.mesh.exports(), &store);
    catch_up(&store, &place, settings).await?;
    let parts = parts(settings, &place, &ground, &body, store, world.clone());
    let toolbox = pack(&parts.puller);
    let (routes, restarts) = (ground.routes.clone(), restarts.clone());
    let share = share::Share { settings, place: &place, world, routes, restarts };
    Ok(Node::assemble(parts, |core| {
        let mut children = vec![body::child(tasks), toolbox];
        children.extend(share.children(core, &body));
        children.push(serve(body.listeners, &core.service));
        children.push(relieve(core.registry.store(), settings.control.slow_disk));
        children
    })
    .await?)
}

fn parts(
    settings: &NodeSettings,
    place: &Place,
    ground: &Ground,
    body: &body::Body,
    store: Store,
    world: World,
) -> NodeParts {
    NodeParts {
        puller: ground::puller(settings, &ground.runtime),
        agent: agent(settings, place),
        runtime: ground.runtime.clone(),
        network: ground.network.clone(),
        volumes: ground.volumes.clone(),
        prober: ground.prober.clone(),
        logs: ground.logs.clone(),
        services: services(place.service_cidr),
        default_toleration: settings.control.default_toleration,
        authority_pem: body.live.bundle().pem(),
        endpoint: SocketAddr::new(settings.address, settings.listen.port()),
        limits: Limits { in_flight: settings.api.max_in_flight, ..Limits::default() },
        store,
        world,
        mesh: Some(body.mesh.clone()),
    }
}

/// A newcomer has nothing before the leader's first word; a member that comes back can go on without it.
async fn catch_up(store: &Store, place: &Place, settings: &NodeSettings) -> Result<(), Error> {
    if store.leads() {
        return Ok(());
    }
    let patience = if place.is_new() { CATCH_UP } else { CATCH_UP_AGAIN };
    let caught_up = tokio::select! {
        biased;
        caught_up = tokio::time::timeout(patience, store.caught_up()) => caught_up,
        // Nothing comes for a replica that was given up; what runs next begins anew.
        _ = store.removed(), if !place.is_new() => return Ok(()),
    };
    match caught_up {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(Error::Store { dir: settings.data.join("store").display().to_string(), source }),
        Err(_) if place.is_new() => Err(Error::NoObjects { port: settings.listen.port() }),
        Err(_) => {
            tracing::warn!("the cluster's leader is not reached yet; going on with what this node has");
            Ok(())
        }
    }
}

fn world() -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) }
}

/// Where the API is reached on this machine.
pub fn url(settings: &NodeSettings) -> String {
    let unspecified = settings.listen.ip().is_unspecified();
    let ip = if unspecified { IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) } else { settings.listen.ip() };
    format!("https://{}", SocketAddr::new(ip, settings.listen.port()))
}

/// Opens the store; a node whose store is gone, damaged, or of no use to the cluster any more begins anew first.
async fn open_store(settings: &NodeSettings, place: &mut Place, mesh: &Mesh, world: &World) -> Result<Store, Error> {
    let (data, now) = (&settings.data, world.clock.now());
    rejoin::finish(data, &mut place.remembered, now)?;
    if let Some(reason) = rejoin::reason(data, &place.remembered)? {
        tracing::warn!(reason, "this node begins anew; asking the cluster for a number");
        rejoin::begin(data, &mut place.remembered, mesh, now).await?;
        place.rejoined = Some(reason);
    }
    let open = |place: &Place| {
        Store::open_with(store_options(settings, &place.remembered), Arc::new(MeshPeers(mesh.clone())), world.clone())
    };
    let failed = |source| Error::Store { dir: data.join("store").display().to_string(), source };
    match open(place).await {
        Err(error) if rejoin::mends(&error) && !place.remembered.peers.is_empty() => {
            tracing::error!(%error, "the store is damaged; asking the cluster for a number to begin anew with");
            if let Err(refusal) = rejoin::begin(data, &mut place.remembered, mesh, now).await {
                tracing::error!(%refusal, "nobody can help: the store stays as it is");
                return Err(failed(error));
            }
            place.rejoined = Some(error.to_string());
            open(place).await.map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

fn store_options(settings: &NodeSettings, remembered: &Remembered) -> StoreOptions {
    StoreOptions {
        snapshot_bytes: settings.store.snapshot_bytes,
        history_age: settings.store.history,
        raft_id: remembered.raft_id,
        role: if remembered.founder { Role::Found } else { Role::Join },
        ..StoreOptions::new(settings.data.join("store"), settings.name.clone())
    }
}

/// Makes the stopped node's replica the only voter of its cluster; gives the last revision that is kept.
///
/// # Errors
/// Where the store cannot be read or written; it is as it was then.
pub fn rebuild(settings: &NodeSettings, rebuild: &Rebuild) -> Result<Revision, Error> {
    let remembered = Remembered::load(&settings.data)?.ok_or(rejoin::Error::Nobody { last: "no member".into() })?;
    let options = store_options(settings, &remembered);
    let failed = |source| Error::Store { dir: options.dir.display().to_string(), source };
    store::recovery::rebuild(&options, rebuild, &world()).map_err(failed)
}

fn agent(settings: &NodeSettings, place: &Place) -> AgentSettings {
    let facts = machine::facts(&settings.data);
    AgentSettings {
        name: settings.name.clone(),
        ips: vec![settings.address],
        api_port: settings.listen.port(),
        pod_cidr: place.pod_cidr.to_string(),
        labels: labels(settings),
        machine: NodeMachine {
            cpus: facts.cpus,
            memory_bytes: facts.memory_bytes,
            disk_bytes: facts.disk_bytes,
            machine_id: facts.machine_id,
            system_uuid: facts.system_uuid,
            boot_id: facts.boot_id,
            kernel_version: facts.kernel_version,
            os_image: facts.os_image,
            architecture: facts.architecture,
        },
        log_root: settings.data.join("logs"),
        cluster_dns: None,
        cluster_domain: place.remembered.cluster.cluster_domain.clone(),
        resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        max_pods: settings.agent.max_pods,
        decide_after: decide_after(settings.control.declare_after),
    }
}

/// The zone as Kubernetes labels it.
fn labels(settings: &NodeSettings) -> BTreeMap<String, String> {
    let zone = Some(settings.mesh.zone.clone()).filter(|zone| !zone.is_empty());
    zone.into_iter().map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone)).collect()
}

fn services(range: Cidr) -> ServiceAddresses {
    let defaults = ServiceAddresses::default();
    match range.nth(0) {
        Some(IpAddr::V4(network)) => ServiceAddresses { network, prefix: range.prefix(), ..defaults },
        _ => defaults,
    }
}

/// Packs the built-in image beside the node's start; a pod that needs it sooner waits for it.
fn pack(puller: &Arc<ImagePuller>) -> Child {
    let puller = puller.clone();
    Task::child("toolbox", move || {
        let puller = puller.clone();
        async move {
            puller.pull(toolbox::NAME, &[]).await?;
            std::future::pending().await
        }
    })
}

/// Hands over the lead of the store where this node's disk is too slow for it, or full.
fn relieve(store: &Store, slow_disk: Duration) -> Child {
    let store = store.clone();
    Task::child("relief", move || {
        let store = store.clone();
        async move {
            store.hand_over_when_unwell(slow_disk).await;
            Ok(())
        }
    })
}

/// The API's listeners as a child: bound once, so that a restart of the child can only mean the end.
fn serve(listeners: Listeners, service: &Arc<Service>) -> Child {
    let listeners = Arc::new(parking_lot::Mutex::new(Some(listeners)));
    let service = service.clone();
    Task::child("api", move || {
        let (listeners, service) = (listeners.lock().take(), service.clone());
        async move {
            let listeners = listeners.ok_or("the listeners have ended")?;
            listeners.serve(service.clone(), service.stop.clone()).await;
            Ok(())
        }
    })
}
