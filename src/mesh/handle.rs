//! The mesh as the rest of the node uses it: calls, casts, streams, watches and the members.

mod local;
mod watching;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::address::{Address, Class, Failure, Refusal};
use super::exports::{Exports, Protocol};
use super::fabric::{Duplex, Fabric};
use super::links::datagrams::Datagrams;
use super::links::{Links, LinksParts, Settings};
use super::member::{Life, Member, Meta, SharedView, View};
use crate::model::{NodeId, Timestamp};
use crate::world::World;

/// How long [`Mesh::leave`] lets the goodbye take.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How long what was said last has to leave this node.
const PARTING: Duration = Duration::from_millis(100);

/// What a mesh is made of.
pub struct MeshParts {
    /// This node.
    pub me: NodeId,
    /// Which start of the process; must be larger at every start (see [`super::membership`]).
    pub generation: u64,
    /// Connections.
    pub fabric: Arc<dyn Fabric>,
    /// Actors that others may call.
    pub exports: Exports,
    /// What this node tells about itself.
    pub meta: Meta,
    /// Where to look for others first: seeds and remembered peers, by name where known.
    pub peers: Vec<(Option<NodeId>, SocketAddr)>,
    /// Clock and randomness.
    pub world: World,
}

/// A handle on the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh(Arc<Inner>);

struct Inner {
    me: NodeId,
    links: Links,
    exports: Exports,
    view: watch::Receiver<SharedView>,
    meta: watch::Sender<Meta>,
    leave: mpsc::Sender<oneshot::Sender<()>>,
    /// Streams of this node to itself.
    local: Mutex<local::Streams>,
}

/// The work of the mesh; runs until dropped. Dropping it ends every connection and task of the mesh.
pub struct MeshTask {
    mesh: Mesh,
    surroundings: Option<Surroundings>,
}

/// What the membership's driver works with.
pub struct Surroundings {
    /// This node.
    pub me: NodeId,
    /// Which start of the process.
    pub generation: u64,
    /// Where to look for others first.
    pub peers: Vec<(Option<NodeId>, SocketAddr)>,
    /// Where the driver puts the members as it sees them.
    pub view: watch::Sender<SharedView>,
    /// What this node tells about itself, now and as it changes.
    pub meta: watch::Receiver<Meta>,
    /// The way to other nodes.
    pub datagrams: Datagrams,
    /// Asks for the goodbye; answered once it is said.
    pub leave: mpsc::Receiver<oneshot::Sender<()>>,
    /// Clock and randomness.
    pub world: World,
}

/// How a watched actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is no longer exported, or never was.
    Actor,
    /// Its node was declared dead by gossip, left, or started again.
    Node,
}

impl Mesh {
    /// Puts a mesh together; nothing happens until [`MeshTask::run`].
    pub fn new(parts: MeshParts) -> (Self, MeshTask) {
        Self::with_settings(parts, Settings::default())
    }

    /// The same with other bounds and times than the usual.
    pub fn with_settings(parts: MeshParts, settings: Settings) -> (Self, MeshTask) {
        let view = View::alone(alone(&parts, parts.world.clock.now()));
        let (view, members) = watch::channel(Arc::new(view));
        let (meta, told) = watch::channel(parts.meta);
        let (leave, leaving) = mpsc::channel(1);
        let (links, received) = Links::new(LinksParts {
            me: parts.me.clone(),
            generation: parts.generation,
            fabric: parts.fabric,
            exports: parts.exports.clone(),
            directory: Box::new(directory(members.clone(), parts.peers.clone())),
            view: members.clone(),
            rng: parts.world.entropy.fork(),
            settings,
        });
        let surroundings = Surroundings {
            me: parts.me.clone(),
            generation: parts.generation,
            peers: parts.peers,
            view,
            meta: told,
            datagrams: Datagrams::new(&links, received),
            leave: leaving,
            world: parts.world,
        };
        let local = Mutex::new(local::Streams::default());
        let inner = Inner { me: parts.me, links, exports: parts.exports, view: members, meta, leave, local };
        let mesh = Self(Arc::new(inner));
        (mesh.clone(), MeshTask { mesh, surroundings: Some(surroundings) })
    }

    /// Asks and waits for the answer, at most `deadline`. A call to this node itself is not encoded.
    pub async fn call<P: Protocol>(
        &self,
        to: &Address,
        request: P::Request,
        deadline: Duration,
    ) -> Result<P::Answer, Failure> {
        if to.node == self.0.me {
            let handler = self.0.exports.typed::<P>(&to.actor)?;
            return match timeout(deadline, handler.handle(&self.0.me, request)).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(Failure::Timeout),
            };
        }
        let body = encode(&request)?;
        drop(request);
        let answer = self.0.links.call(&to.node, P::CLASS, &to.actor, P::VERSION, body, deadline).await?;
        rmp_serde::from_slice(&answer)
            .map_err(|error| Refusal::Failed(format!("the answer of {to} cannot be read: {error}")).into())
    }

    /// Sends without waiting for an answer: handled once, or never.
    pub async fn cast<P: Protocol>(&self, to: &Address, request: P::Request) -> Result<(), Failure> {
        if to.node == self.0.me {
            let handler = self.0.exports.typed::<P>(&to.actor)?;
            let me = self.0.me.clone();
            let handled = async move {
                let _ = handler.handle(&me, request).await;
            };
            return self.0.local.lock().begin(handled).map_err(|()| Failure::Shed(to.node.clone()));
        }
        self.0.links.cast(&to.node, P::CLASS, &to.actor, P::VERSION, encode(&request)?).await
    }

    /// Opens a byte stream; gives what the other side granted it with.
    pub async fn open(
        &self,
        to: &Address,
        class: Class,
        version: u16,
        header: Bytes,
        deadline: Duration,
    ) -> Result<(Bytes, Duplex), Failure> {
        if to.node != self.0.me {
            return self.0.links.open(&to.node, class, &to.actor, version, header, deadline).await;
        }
        let streams = self.0.exports.streams(&to.actor, version)?;
        let granted = timeout(deadline, streams.open(&self.0.me, version, header)).await;
        let mut stream = granted.map_err(|_| Failure::Timeout)??;
        let (near, far) = local::pair();
        let grant = stream.grant();
        let served = self.0.local.lock().begin(async move { stream.serve(far).await });
        served.map_err(|()| Failure::Shed(to.node.clone()))?;
        Ok((grant, near))
    }

    /// Waits until the actor or its node has ended. One answer, whatever happens.
    pub async fn watch(&self, actor: &Address) -> Ended {
        if actor.node != self.0.me {
            return watching::watch(&self.0.links, self.0.view.clone(), actor).await;
        }
        if let Some(gone) = self.0.exports.gone(&actor.actor) {
            gone.cancelled().await;
        }
        Ended::Actor
    }

    /// The members, now and as they change.
    pub fn view(&self) -> watch::Receiver<SharedView> {
        self.0.view.clone()
    }

    /// The actors that this node exports.
    pub fn exports(&self) -> &Exports {
        &self.0.exports
    }

    /// The connections, for what they count and whom they reach.
    pub fn links(&self) -> &Links {
        &self.0.links
    }

    /// This node.
    pub fn me(&self) -> &NodeId {
        &self.0.me
    }

    /// Changes what this node tells about itself (its version is counted up here).
    pub fn tell(&self, change: impl FnOnce(&mut Meta)) {
        self.0.meta.send_modify(|meta| {
            let version = meta.version + 1;
            change(meta);
            meta.version = version;
        });
    }

    /// Ends connections to nodes that `refused` names, and takes none from them until it no longer does.
    pub fn refuse(&self, refused: impl Fn(&NodeId) -> bool + Send + Sync + 'static) {
        self.0.links.refuse(refused);
    }

    /// Says goodbye to everybody, within [`LEAVE_WITHIN`], and ends every connection.
    pub async fn leave(&self) {
        let (said, goodbye) = oneshot::channel();
        if self.0.leave.try_send(said).is_ok() {
            let _ = timeout(LEAVE_WITHIN, goodbye).await;
            // Closing a connection throws away the datagrams that have not left yet.
            tokio::time::sleep(PARTING).await;
        }
        self.0.links.stop();
    }
}

impl MeshTask {
    /// Runs the mesh; returns only where it cannot go on.
    pub async fn run(self) -> std::io::Error {
        self.run_with(alone_forever).await
    }

    /// Runs the mesh with `driver` as its membership.
    pub async fn run_with<F: Future<Output = std::io::Error>>(
        mut self,
        driver: impl FnOnce(Surroundings) -> F,
    ) -> std::io::Error {
        let links = self.mesh.0.links.clone();
        let Some(surroundings) = self.surroundings.take() else { return std::io::Error::other("it runs already") };
        tokio::select! {
            error = links.run() => error,
            error = driver(surroundings) => error,
        }
    }
}

impl Drop for MeshTask {
    fn drop(&mut self) {
        self.mesh.0.links.stop();
        self.mesh.0.local.lock().end();
    }
}

/// No membership: peers are those named at the start, a goodbye is said at once, datagrams are dropped.
async fn alone_forever(mut surroundings: Surroundings) -> std::io::Error {
    loop {
        tokio::select! {
            _ = surroundings.datagrams.receive() => {}
            Some(said) = surroundings.leave.recv() => {
                let _ = said.send(());
            }
        }
    }
}

/// Where a node is: what gossip tells first, then what was known at the start.
fn directory(
    view: watch::Receiver<SharedView>,
    peers: Vec<(Option<NodeId>, SocketAddr)>,
) -> impl Fn(&NodeId) -> Vec<SocketAddr> + Send + Sync {
    move |node| {
        let told = view.borrow().members.get(node).map(|member| member.meta.addresses.clone());
        let mut addresses = told.unwrap_or_default();
        for (name, at) in &peers {
            if name.as_ref() == Some(node) && !addresses.contains(at) {
                addresses.push(*at);
            }
        }
        addresses
    }
}

fn alone(parts: &MeshParts, since: Timestamp) -> Member {
    Member {
        node: parts.me.clone(),
        generation: parts.generation,
        incarnation: 0,
        life: Life::Alive,
        since,
        meta: parts.meta.clone(),
        round_trip: None,
    }
}

fn encode<T: serde::Serialize>(request: &T) -> Result<Bytes, Failure> {
    let bytes = rmp_serde::to_vec_named(request);
    bytes.map(Bytes::from).map_err(|error| Refusal::Failed(format!("it cannot be encoded: {error}")).into())
}

#[cfg(test)]
mod tests;
