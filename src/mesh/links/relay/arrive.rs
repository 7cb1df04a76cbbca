//! The far end of a tunnel: packets of a node that cannot reach this one directly come in as if from the network.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Arrive, pump, read};
use crate::mesh::address::Refusal;
use crate::mesh::exports::{Stream, Streams};
use crate::mesh::fabric::{Duplex, Tunnel};
use crate::mesh::links::{Inner, Links};
use crate::model::NodeId;

/// The actor that takes what relays carry here. It believes nothing of what a relay says: who is at the other end is
/// decided by the certificates of the connections that come out of the tunnel.
pub struct FarEnd(Weak<Inner>);

impl FarEnd {
    /// The far end at a node.
    pub fn of(links: &Links) -> Self {
        Self(Arc::downgrade(&links.0))
    }
}

#[async_trait]
impl Streams for FarEnd {
    async fn open(&self, from: &NodeId, _version: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        let Arrive { origin } = read(&header)?;
        let links = Links(self.0.upgrade().ok_or(Refusal::Busy)?);
        let me = &links.0.context.me;
        let known = links.0.view.borrow().members.contains_key(&origin);
        if !known || links.is_refused(&origin) || origin == *me || origin == *from || from == me {
            links.counters().relays_refused.add_one();
            return Err(Refusal::Forbidden(format!("{origin} is no member that needs a relay")));
        }
        if !links.0.arriving.enter(&[from]) {
            return Err(Refusal::Busy);
        }
        let place = Place { links, relay: from.clone() };
        let tunnel = place.links.0.fabric.tunnel().ok_or(Refusal::Busy)?;
        Ok(Box::new(Arrived { place, tunnel }))
    }
}

/// A place among the tunnels that end here; free again when dropped. Counted by relay alone: what a relay says of the
/// origin is not known to be true.
struct Place {
    links: Links,
    relay: NodeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.links.0.arriving.leave(&[&self.relay]);
    }
}

struct Arrived {
    place: Place,
    tunnel: Box<dyn Tunnel>,
}

#[async_trait]
impl Stream for Arrived {
    async fn serve(self: Box<Self>, stream: Duplex) {
        let Self { place, tunnel } = *self;
        place.links.clone().run_tunnel(place.relay.clone(), pump::run(tunnel, stream)).await;
    }
}
