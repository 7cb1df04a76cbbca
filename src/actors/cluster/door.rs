//! Where strangers knock: any node passes a join request on to the cluster's authority.

use std::net::SocketAddr;
use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;

use super::desk::{Ask, Desk, Told};
use crate::mesh::address::{Failure, Refusal};
use crate::mesh::join::{JoinAnswer, JoinDoor, JoinRefusal, encode};

/// The door; shut until the node has a desk.
#[derive(Default)]
pub struct Door {
    desk: OnceLock<Desk>,
}

impl Door {
    /// Opens it.
    pub fn open(&self, desk: Desk) {
        let _ = self.desk.set(desk);
    }
}

#[async_trait]
impl JoinDoor for Door {
    async fn join(&self, from: SocketAddr, request: Bytes) -> Bytes {
        let refused = |reason| encode(&JoinAnswer::Refused { reason }).unwrap_or_default().into();
        let Some(desk) = self.desk.get() else { return refused(JoinRefusal::Busy) };
        match desk.ask(Ask::Join(request)).await {
            Ok(Told::Joined(answer)) => answer,
            Ok(_) => refused(JoinRefusal::Unknown),
            Err(Failure::Refused(Refusal::Busy)) => refused(JoinRefusal::Busy),
            Err(failure) => {
                tracing::warn!(%from, %failure, "a join request did not reach the authority");
                refused(JoinRefusal::NoQuorum)
            }
        }
    }
}
