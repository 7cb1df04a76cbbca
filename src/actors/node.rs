//! Puts a node together from its parts, real ones or the simulator's: one tree, the same either way.
//!
//! Rooms: `boot` makes the real parts from the settings; `remembered` a node's place in its cluster;
//! `joining`, `rejoin` how it gets one, `restart` how it asks for a new beginning.

pub mod boot;
pub mod joining;
pub mod rejoin;
pub mod remembered;
pub mod restart;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorRef, SpawnErr};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::agent::parts::{MAX_STARTS, Parts};
use super::agent::{Agent, ImagePuller, LocalGateway, parts};
use super::control::host::{self, Host};
use super::control::report::{Board, Reports};
use super::control::seat::Seat;
use super::control::{self, Control};
use super::executor::Executor;
use super::mirror::Mirror;
use super::reach::{self, PodStreams, Reach};
use super::service::Service as Task;
use super::supervisor::{self, Child, Supervisor};
use crate::api::admission::{self, DefaultToleration, ServiceAddresses};
use crate::api::authz::BuiltIn;
use crate::api::gateway::NodeGateway;
use crate::api::registry::Registry;
use crate::api::service::{Limits, Service};
use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::mesh::exports::Protocol as _;
use crate::mesh::handle::Mesh;
use crate::model::{ObjectKey, Revision};
use crate::plan::{self, placement};
use crate::runtime::logs::LogSource;
use crate::runtime::probe::Prober;
use crate::runtime::volume::Volumes;
use crate::runtime::{ContainerRuntime, PodNetwork};
use crate::store::Store;
use crate::world::World;

/// What a node is made of.
pub struct NodeParts {
    /// Clock, randomness, disk.
    pub world: World,
    /// The open store.
    pub store: Store,
    /// What is true of the node as a place to run pods.
    pub agent: parts::NodeSettings,
    /// Containers and images.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Addresses of pods.
    pub network: Arc<dyn PodNetwork>,
    /// Volumes and files of pods.
    pub volumes: Arc<dyn Volumes>,
    /// Probes over the network.
    pub prober: Arc<dyn Prober>,
    /// Pulls of images.
    pub puller: Arc<ImagePuller>,
    /// Logs of containers.
    pub logs: Arc<dyn LogSource>,
    /// Addresses that services are given.
    pub services: ServiceAddresses,
    /// How long pods that say nothing stay on a node that is not ready or not reachable, in whole seconds.
    pub default_toleration: Duration,
    /// The certificate that clients of the API must trust, PEM.
    pub authority_pem: String,
    /// Where pods and others reach the API.
    pub endpoint: SocketAddr,
    /// Bounds of the API.
    pub limits: Limits,
    /// The other nodes; `None` for a node that is alone by design (the simulator's).
    pub mesh: Option<Mesh>,
}

/// What a node's own children are made with, besides those that every node has.
pub struct Core {
    /// The request path.
    pub service: Arc<Service>,
    /// Verbs on resources.
    pub registry: Arc<Registry>,
    /// The copy of every object.
    pub mirror: Arc<Mirror>,
    /// Names of the planners among the control actors.
    pub actors: Arc<BTreeSet<&'static str>>,
    /// Place of the cluster's authority.
    pub issuer: Arc<Seat>,
    /// Place of whoever places all others.
    pub placement: Arc<Seat>,
}

/// A node that runs.
pub struct Node {
    /// The request path.
    pub service: Arc<Service>,
    /// The store.
    pub store: Store,
    /// The copy of every object that actors share.
    pub mirror: Arc<Mirror>,
    /// The node's containers and images.
    pub runtime: Arc<dyn ContainerRuntime>,
    root: ActorRef<supervisor::Message>,
    tree: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<bool>,
}

impl Node {
    /// Starts the tree. `more` are children that only a real node has: its listeners, its part in the mesh.
    ///
    /// # Errors
    /// Where a child cannot be started even once.
    pub async fn assemble(parts: NodeParts, more: impl FnOnce(&Core) -> Vec<Child> + Send) -> Result<Self, SpawnErr> {
        let toleration = DefaultToleration { wait: parts.default_toleration };
        let rules = admission::standard(parts.services.clone(), toleration);
        let registry = Registry::new(parts.store.clone(), parts.world.clone(), rules);
        let mirror = Arc::new(Mirror::default());
        let doors = doors(&parts, &registry);
        let gateway = gateway(&parts, &doors);
        let service = Service::new(registry.clone(), gateway, Arc::new(BuiltIn), &parts.limits);
        let controllers = control_actors(&parts);
        let actors = Arc::new(controllers.iter().map(|one| one.name()).collect());
        let core = Core {
            service: service.clone(),
            registry: registry.clone(),
            mirror: mirror.clone(),
            actors,
            issuer: Seat::new(placement::ISSUER),
            placement: Seat::new(placement::PLACEMENT),
        };
        let mut children = more(&core);
        children.push(replica(&parts.store));
        children.push(follow(&mirror, &parts.store));
        children.extend(control(&parts, controllers, &core));
        children.push(Agent::child(doors));
        let (root, tree) = Actor::spawn(None, Supervisor, children).await?;
        let (end, ended) = watch::channel(false);
        let tree = tokio::spawn(async move {
            let _ = tree.await;
            end.send_replace(true);
        });
        Ok(Self {
            service,
            store: parts.store,
            mirror,
            runtime: parts.runtime,
            root,
            tree: Mutex::new(Some(tree)),
            ended,
        })
    }

    /// Waits until the Node object `name` is Ready. Cancel-safe.
    ///
    /// # Errors
    /// Where the object cannot be read.
    pub async fn ready(&self, name: &str) -> Result<(), DecodeError> {
        let key = ObjectKey::new(id::NODES, "", name);
        loop {
            let (object, revision) = {
                let snapshot = self.mirror.snapshot().read();
                (snapshot.get(&key).cloned(), snapshot.revision())
            };
            if let Some(object) = object
                && is_ready(&*object.view::<k8s_openapi::api::core::v1::Node>()?)
            {
                return Ok(());
            }
            self.mirror.reached(Revision(revision.0 + 1)).await;
        }
    }

    /// Waits until the node cannot go on. Cancel-safe.
    pub async fn failed(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Hands over the lead of the store where it has it, stops every actor and closes the store. Containers go on.
    pub async fn stop(&self) {
        // While the way to the others is still there.
        self.store.step_aside().await;
        self.service.stop.cancel();
        self.root.stop(None);
        let tree = self.tree.lock().take();
        if let Some(tree) = tree {
            let _ = tree.await;
        }
        self.store.close().await;
    }
}

fn is_ready(node: &k8s_openapi::api::core::v1::Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// What the agent and its pods use.
fn doors(parts: &NodeParts, registry: &Arc<Registry>) -> Parts {
    Parts {
        node: Arc::new(parts.agent.clone()),
        clock: parts.world.clock.clone(),
        runtime: parts.runtime.clone(),
        network: parts.network.clone(),
        volumes: parts.volumes.clone(),
        prober: parts.prober.clone(),
        logs: parts.logs.clone(),
        objects: Arc::new(parts.store.clone()),
        executor: registry.clone(),
        puller: parts.puller.clone(),
        starts: Arc::new(tokio::sync::Semaphore::new(MAX_STARTS)),
        quorum: Arc::new(parts.store.clone()),
    }
}

/// Reaches pods here, and, with a mesh, on every node; then others reach those that are here.
fn gateway(parts: &NodeParts, doors: &Parts) -> Arc<dyn NodeGateway> {
    let here: Arc<dyn NodeGateway> = Arc::new(LocalGateway::new(doors.clone()));
    let Some(mesh) = &parts.mesh else { return here };
    mesh.exports().serve_streams(reach::PODS, reach::VERSION..=reach::VERSION, PodStreams::new(here.clone()));
    Reach::new(&parts.agent.name, here, mesh.clone())
}

/// The store's own tasks are its own; its failure is the node's.
fn replica(store: &Store) -> Child {
    let store = store.clone();
    Task::child("replica", move || {
        let store = store.clone();
        async move { Err(store.failed().await.into()) }
    })
}

fn follow(mirror: &Arc<Mirror>, store: &Store) -> Child {
    let (mirror, store) = (mirror.clone(), store.clone());
    Task::child("mirror", move || {
        let (mirror, store) = (mirror.clone(), store.clone());
        async move { Ok(mirror.follow(&store).await?) }
    })
}

/// The control actors that are placed here; all of them, without Leases, on a node that is alone by design.
fn control(parts: &NodeParts, controllers: Vec<Arc<dyn plan::Controller>>, core: &Core) -> Vec<Child> {
    let Core { service, registry, mirror, .. } = core;
    let metrics = control::Metrics::default();
    service.metrics.extend(|registry| metrics.register(registry));
    let Some(mesh) = &parts.mesh else {
        let executor: Arc<dyn Executor> = registry.clone();
        let control = |controller| {
            Control::new(controller, mirror.clone(), executor.clone(), parts.world.clone(), metrics.clone()).child()
        };
        return controllers.into_iter().map(control).collect();
    };
    let board = Board::default();
    mesh.exports().serve::<Reports>(Reports::ACTOR, Arc::new(board.clone()));
    let host = host::Parts {
        node: parts.agent.name.clone(),
        controllers,
        seats: vec![core.issuer.clone(), core.placement.clone()],
        mirror: mirror.clone(),
        registry: registry.clone(),
        world: parts.world.clone(),
        metrics,
        board,
    };
    vec![Host::child(Arc::new(host))]
}

fn control_actors(parts: &NodeParts) -> Vec<Arc<dyn plan::Controller>> {
    let known = plan::Cluster {
        ca_pem: parts.authority_pem.clone(),
        api_address: parts.endpoint.ip(),
        api_port: parts.endpoint.port(),
        api_service_ip: Some(parts.services.api().into()),
    };
    plan::controllers(&known).into_iter().map(Arc::from).collect()
}
