//! The mesh as the rest of the node uses it: calls, casts, streams, watches and the members.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::address::{Address, Class, Failure};
use super::exports::{Exports, Protocol};
use super::fabric::{Duplex, Fabric};
use super::member::{Meta, SharedView};
use crate::model::NodeId;
use crate::world::World;

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
pub struct Mesh {}

/// The work of the mesh; runs until dropped. Dropping it ends every connection and task of the mesh.
pub struct MeshTask {}

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
        todo!()
    }

    /// Asks and waits for the answer, at most `deadline`. A call to this node itself is not encoded.
    pub async fn call<P: Protocol>(
        &self,
        to: &Address,
        request: P::Request,
        deadline: Duration,
    ) -> Result<P::Answer, Failure> {
        todo!()
    }

    /// Sends without waiting for an answer: handled once, or never.
    pub async fn cast<P: Protocol>(&self, to: &Address, request: P::Request) -> Result<(), Failure> {
        todo!()
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
        todo!()
    }

    /// Waits until the actor or its node has ended. One answer, whatever happens.
    pub async fn watch(&self, actor: &Address) -> Ended {
        todo!()
    }

    /// The members, now and as they change.
    pub fn view(&self) -> watch::Receiver<SharedView> {
        todo!()
    }

    /// The actors that this node exports.
    pub fn exports(&self) -> &Exports {
        todo!()
    }

    /// Changes what this node tells about itself (its version is counted up here).
    pub fn tell(&self, change: impl FnOnce(&mut Meta)) {
        todo!()
    }

    /// Ends connections to nodes that `refused` names, and takes none from them until it no longer does.
    pub fn refuse(&self, refused: impl Fn(&NodeId) -> bool + Send + Sync + 'static) {
        todo!()
    }

    /// Says goodbye to everybody.
    pub async fn leave(&self) {
        todo!()
    }
}

impl MeshTask {
    /// Runs the mesh; returns only where it cannot go on.
    pub async fn run(self) -> std::io::Error {
        todo!()
    }
}
