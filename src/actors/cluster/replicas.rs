//! The store's door to its replicas on other nodes: calls of the mesh.
//!
//! Three protocols of the same messages, so that elections do not wait behind writes, nor these behind snapshots.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::mesh::address::{Address, Class, Failure, Refusal};
use crate::mesh::exports::{Exports, Handler, Protocol};
use crate::mesh::handle::Mesh;
use crate::model::NodeId;
use crate::store::Store;
use crate::store::raft::Peer;
use crate::store::raft::peers::{PeerAnswer, PeerRequest, Peers};

/// Longest call: the store gives up sooner by itself.
const DEADLINE: Duration = Duration::from_mins(1);

/// Raft's own messages.
struct Urgent;
/// Writes and reads that other nodes forward.
struct Forwarded;
/// Pieces of snapshots.
struct Snapshots;

impl Protocol for Urgent {
    const ACTOR: &'static str = "replica/raft";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Raft;
    type Request = PeerRequest;
    type Answer = PeerAnswer;
}

impl Protocol for Forwarded {
    const ACTOR: &'static str = "replica/forwarded";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = PeerRequest;
    type Answer = PeerAnswer;
}

impl Protocol for Snapshots {
    const ACTOR: &'static str = "replica/snapshot";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Watch;
    type Request = PeerRequest;
    type Answer = PeerAnswer;
}

/// The way to other replicas.
pub struct MeshPeers(pub Mesh);

impl MeshPeers {
    async fn over<P>(&self, target: &Peer, request: PeerRequest) -> io::Result<PeerAnswer>
    where
        P: Protocol<Request = PeerRequest, Answer = PeerAnswer>,
    {
        let to = Address::new(&NodeId(target.node.as_str().into()), P::ACTOR);
        self.0.call::<P>(&to, request, DEADLINE).await.map_err(|failure| io::Error::new(kind(&failure), failure))
    }
}

/// `NotConnected` and `ConnectionRefused` promise that nothing was done; see [`Peers`].
fn kind(failure: &Failure) -> io::ErrorKind {
    match failure {
        Failure::Unreachable(_) | Failure::Shed(_) => io::ErrorKind::NotConnected,
        Failure::Refused(Refusal::Failed(_)) => io::ErrorKind::Other,
        Failure::Refused(_) => io::ErrorKind::ConnectionRefused,
        Failure::Timeout => io::ErrorKind::TimedOut,
        Failure::Lost(_) => io::ErrorKind::ConnectionReset,
    }
}

#[async_trait]
impl Peers for MeshPeers {
    async fn call(&self, target: &Peer, request: PeerRequest) -> io::Result<PeerAnswer> {
        if request.is_bulk() {
            self.over::<Snapshots>(target, request).await
        } else if request.is_urgent() {
            self.over::<Urgent>(target, request).await
        } else {
            self.over::<Forwarded>(target, request).await
        }
    }
}

/// This node's replica, for the others.
struct Replica(Store);

#[async_trait]
impl<P: Protocol<Request = PeerRequest, Answer = PeerAnswer>> Handler<P> for Replica {
    async fn handle(&self, from: &NodeId, request: PeerRequest) -> Result<PeerAnswer, Refusal> {
        Ok(self.0.answer(&from.0, request).await)
    }
}

/// Lets go of this node's replica, which the exports hold.
pub fn withdraw(exports: &Exports) {
    [Urgent::ACTOR, Forwarded::ACTOR, Snapshots::ACTOR].into_iter().for_each(|actor| exports.withdraw(actor));
}

/// Lets other nodes reach this node's replica.
pub fn export(exports: &Exports, store: &Store) {
    exports.serve::<Urgent>(Urgent::ACTOR, Arc::new(Replica(store.clone())));
    exports.serve::<Forwarded>(Forwarded::ACTOR, Arc::new(Replica(store.clone())));
    exports.serve::<Snapshots>(Snapshots::ACTOR, Arc::new(Replica(store.clone())));
}
