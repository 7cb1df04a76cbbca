//! The node's part in the mesh: the port, its links, and the tasks that run them.

use std::sync::Arc;

use parking_lot::Mutex;
use ractor::ActorProcessingErr;
use tokio::task::JoinSet;

use super::Error;
use super::place::Place;
use crate::actors::cluster::door::Door;
use crate::actors::service::Service as Task;
use crate::actors::settings::NodeSettings;
use crate::actors::supervisor::Child;
use crate::api::listen::{self, ListenConfig, Listeners};
use crate::mesh::exports::Exports;
use crate::mesh::gossip;
use crate::mesh::handle::{Mesh, MeshParts, MeshTask};
use crate::mesh::identity::{LiveIdentity, Revocations};
use crate::mesh::member::Meta;
use crate::mesh::quic::{Endpoint, Limits, QuicFabric};
use crate::mesh::version::spoken;
use crate::model::NodeId;
use crate::runtime::machine;
use crate::world::World;

/// Connections to the API at a time.
const MAX_CONNECTIONS: usize = 4_096;

/// The mesh as a node starts it.
pub struct Body {
    /// Calls, members.
    pub mesh: Mesh,
    /// What is shown and believed.
    pub live: LiveIdentity,
    /// The port.
    pub endpoint: Endpoint,
    /// Connections.
    pub fabric: Arc<QuicFabric>,
    /// Where strangers knock.
    pub door: Arc<Door>,
    /// The API's sockets.
    pub listeners: Listeners,
    tasks: JoinSet<String>,
}

/// Opens the port and joins the gossip; everything runs from here on.
///
/// # Errors
/// Where the port is taken or the certificates cannot be used.
pub async fn start(settings: &NodeSettings, place: &Place, world: &World) -> Result<Body, Error> {
    let live = LiveIdentity::new(&place.identity, Revocations::default(), world.clock.clone())?;
    let config = ListenConfig { address: settings.listen, connections: MAX_CONNECTIONS };
    let listeners = listen::bind(&config, live.server_config(listen::TCP_PROTOCOLS)?).await?;
    let endpoint = Endpoint::bind(listeners.address(), Arc::new(live.clone()), Limits::default())?;
    let listeners = match endpoint.http3() {
        Some(connections) => listeners.with_http3(connections),
        None => listeners,
    };
    let fabric = endpoint.fabric();
    let (mesh, task) = Mesh::new(MeshParts {
        me: NodeId(settings.name.as_str().into()),
        generation: place.remembered.generation,
        fabric: fabric.clone(),
        exports: Exports::default(),
        meta: meta(settings, place),
        peers: peers(place),
        world: world.clone(),
    });
    let door = Arc::new(Door::default());
    let tasks = spawn(endpoint.clone(), task, door.clone());
    Ok(Body { mesh, live, endpoint, fabric, door, listeners, tasks })
}

/// Both run as one: where either ends, the node cannot go on.
fn spawn(endpoint: Endpoint, task: MeshTask, door: Arc<Door>) -> JoinSet<String> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        endpoint.run(door).await;
        "the port was closed".to_owned()
    });
    tasks.spawn(async move { task.run_with(gossip::drive).await.to_string() });
    tasks
}

/// The tasks as the child `mesh` of a supervisor: started before it, so that a restart can only mean the end.
pub fn child(tasks: JoinSet<String>) -> Child {
    let tasks = Arc::new(Mutex::new(Some(tasks)));
    Task::child("mesh", move || {
        let tasks = tasks.lock().take();
        async move {
            let mut tasks = tasks.ok_or("the mesh has ended")?;
            let ended = tasks.join_next().await;
            Err(ActorProcessingErr::from(format!("the mesh has ended: {ended:?}")))
        }
    })
}

impl Body {
    /// The tasks, for [`child`].
    pub fn take_tasks(&mut self) -> JoinSet<String> {
        std::mem::take(&mut self.tasks)
    }
}

fn meta(settings: &NodeSettings, place: &Place) -> Meta {
    let facts = machine::facts(&settings.data);
    Meta {
        version: 1,
        addresses: settings.mesh.advertise.clone(),
        zone: settings.mesh.zone.clone(),
        pod_cidr: place.pod_cidr.to_string(),
        capacity_millicores: facts.cpus * 1000,
        capacity_bytes: facts.memory_bytes,
        load_millicores: 0,
        protocol: spoken().newest,
        release: env!("CARGO_PKG_VERSION").into(),
        role: if place.remembered.founder { "voter" } else { "learner" }.into(),
    }
}

fn peers(place: &Place) -> Vec<(Option<NodeId>, std::net::SocketAddr)> {
    let known = place.remembered.peers.iter();
    known.flat_map(|(name, at)| at.iter().map(|at| (Some(NodeId(name.as_str().into())), *at))).collect()
}
