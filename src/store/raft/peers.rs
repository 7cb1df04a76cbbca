//! The door through which the mesh carries raft's messages. Without peers every message is undeliverable.

use std::future::Future;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{Snapshot, Vote};

use super::{Peer, Types};

/// A message to a voter, and its answer. An error means that it may or may not have arrived.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Carries a vote request.
    async fn vote(&self, target: &Peer, request: VoteRequest<u64>) -> io::Result<VoteResponse<u64>>;
    /// Carries entries.
    async fn append(
        &self,
        target: &Peer,
        request: AppendEntriesRequest<Types>,
    ) -> io::Result<AppendEntriesResponse<u64>>;
    /// Carries a whole snapshot.
    async fn snapshot(&self, target: &Peer, vote: Vote<u64>, snapshot: Snapshot<Types>) -> io::Result<Vote<u64>>;
}

/// Nobody is there.
#[derive(Debug, Default)]
pub struct Alone;

#[async_trait]
impl Peers for Alone {
    async fn vote(&self, _: &Peer, _: VoteRequest<u64>) -> io::Result<VoteResponse<u64>> {
        Err(io::ErrorKind::NotConnected.into())
    }

    async fn append(&self, _: &Peer, _: AppendEntriesRequest<Types>) -> io::Result<AppendEntriesResponse<u64>> {
        Err(io::ErrorKind::NotConnected.into())
    }

    async fn snapshot(&self, _: &Peer, _: Vote<u64>, _: Snapshot<Types>) -> io::Result<Vote<u64>> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// Makes a link per voter.
pub struct Network(pub Arc<dyn Peers>);

/// A link to one voter.
pub struct Link {
    peers: Arc<dyn Peers>,
    target: Peer,
}

type CallError = RPCError<u64, Peer, RaftError<u64>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, _: u64, node: &Peer) -> Link {
        Link { peers: self.0.clone(), target: node.clone() }
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        self.peers.append(&self.target, request).await.map_err(|error| Unreachable::new(&error).into())
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _: RPCOption) -> Result<VoteResponse<u64>, CallError> {
        self.peers.vote(&self.target, request).await.map_err(|error| Unreachable::new(&error).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = self.peers.snapshot(&self.target, vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse { vote }),
                Err(error) => Err(Unreachable::new(&error).into()),
            },
        }
    }
}
