//! Peers that cannot be dialled, reached through nodes that can: which relay is asked, and when the direct way is back.
//!
//! A relayed connection is one between two nodes like any other, certificates checked by both; only its packets travel
//! on a byte stream to the relay and on another from there. Rooms: `carry` the relay's part, `arrive` the far end's,
//! `pump` packets between a tunnel and a stream.
//!
//! A relay carries only between members, only over direct connections of its own, and what comes over a relayed
//! connection is never carried: there are no chains, hence no loops.

mod arrive;
mod carry;
mod pump;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::link::Link;
use super::{Links, open};
use crate::mesh::address::{Class, Failure, Refusal};
use crate::mesh::exports::Exports;
use crate::mesh::fabric::{Channel, Close, Duplex};
use crate::mesh::member::Life;
use crate::mesh::wire::Frame;
use crate::model::NodeId;

pub use carry::{Carrying, MAX_CARRIED, MAX_CARRIED_OF};

/// The actor that carries between two others.
pub const CARRY: &str = "relay";
/// The actor at the far end of a tunnel.
pub const ARRIVE: &str = "relay-end";
/// Version of the headers of both.
const VERSION: u16 = 1;

/// A direct dial without an answer for this long is no longer waited for alone.
pub const RELAY_AFTER: Duration = Duration::from_millis(500);
/// Most relays asked for one dial.
pub const MAX_ASKED: usize = 3;
/// A further relay is asked when those before have not answered for this long.
const STAGGER: Duration = Duration::from_millis(150);
/// How long asking one relay may take; it may have to dial first.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// How long a handshake through a tunnel may take.
const DIAL_THROUGH_WITHIN: Duration = Duration::from_millis(1500);
/// How long all of it may take.
const RELAY_WITHIN: Duration = Duration::from_secs(3);
/// A peer that needed a relay within this time is dialled both ways at once.
pub const REMEMBERED: Duration = Duration::from_mins(1);
/// The direct way is tried again after this time, after twice as long each time it fails.
pub const DIRECT_FIRST: Duration = Duration::from_secs(5);
/// The longest wait until the direct way is tried again.
pub const DIRECT_MAX: Duration = Duration::from_secs(30);
/// A tunnel stays for this long after its connection has ended, so that the other end is told.
const FAREWELL: Duration = Duration::from_millis(500);

/// Asks a relay for a stream to `target`.
#[derive(Debug, Serialize, Deserialize)]
struct Carry {
    target: NodeId,
}

/// Tells the far end whose packets come.
#[derive(Debug, Serialize, Deserialize)]
struct Arrive {
    origin: NodeId,
}

/// Exports both actors of this module.
pub(super) fn export(exports: &Exports, links: &Links) {
    exports.serve_streams(CARRY, VERSION..=VERSION, Arc::new(carry::Relay::of(links)));
    exports.serve_streams(ARRIVE, VERSION..=VERSION, Arc::new(arrive::FarEnd::of(links)));
}

/// Whether `actor` may not be asked over a relayed connection.
pub(super) fn needs_direct(actor: &str) -> bool {
    actor == CARRY || actor == ARRIVE
}

fn read<T: DeserializeOwned>(header: &[u8]) -> Result<T, Refusal> {
    rmp_serde::from_slice(header).map_err(|error| Refusal::UnknownMessage(error.to_string()))
}

type Tunnelled = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Links {
    /// Whether the connection to `peer` goes through another node; `None` where there is none.
    pub fn is_relayed(&self, peer: &NodeId) -> Option<bool> {
        self.present(peer).map(|link| link.channel.is_relayed())
    }

    /// Whether others may reach `peer`, so that asking them is worth while.
    pub(super) fn may_relay(&self, peer: &NodeId) -> bool {
        self.0.fabric.has_tunnels() && self.is_member(peer)
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.0.view.borrow().reachable().any(|member| member.node == *node)
    }

    /// Connects to `peer` through the first relay that can.
    pub(super) async fn dial_relayed(&self, peer: &NodeId) -> Option<Arc<Link>> {
        let asked = async {
            let mut asked: FuturesUnordered<_> =
                self.relays(peer).into_iter().zip(0..).map(|(relay, turn)| self.ask(relay, peer, turn)).collect();
            while let Some(answer) = asked.next().await {
                let Some((relay, stream)) = answer else { continue };
                if let Some(link) = self.dial_through(peer, relay, stream).await {
                    return Some(link);
                }
            }
            None
        };
        timeout(RELAY_WITHIN, asked).await.ok().flatten()
    }

    /// Whom to ask: those with a direct connection and a good name first, at random among equals.
    fn relays(&self, peer: &NodeId) -> Vec<NodeId> {
        if !self.may_relay(peer) {
            return Vec::new();
        }
        let view = self.0.view.borrow().clone();
        let others = view.reachable().filter(|member| member.node != *peer && member.node != self.0.context.me);
        let mut candidates: Vec<_> = others.filter(|member| !self.is_refused(&member.node)).collect();
        candidates.shuffle(&mut *self.0.rng.lock());
        let direct = self.0.peers.lock().direct();
        candidates.sort_by_key(|member| (!direct.contains(&member.node), member.life == Life::Suspect));
        candidates.into_iter().take(MAX_ASKED).map(|member| member.node.clone()).collect()
    }

    async fn ask(&self, relay: NodeId, peer: &NodeId, turn: u32) -> Option<(NodeId, Duplex)> {
        sleep(STAGGER * turn).await;
        match self.lead_to(&relay, CARRY, &Carry { target: peer.clone() }, Instant::now() + ASK_WITHIN).await {
            Ok(stream) => Some((relay, stream)),
            Err(error) => {
                tracing::debug!(%peer, %relay, %error, "a relay does not help");
                None
            }
        }
    }

    /// A byte stream to an actor of this module, over a direct connection.
    async fn lead_to(
        &self,
        node: &NodeId,
        actor: &str,
        header: &(impl Serialize + Sync),
        until: Instant,
    ) -> Result<Duplex, Failure> {
        let body = rmp_serde::to_vec_named(header).map_err(|error| Refusal::Failed(error.to_string()))?;
        let link = timeout_at(until, self.direct(node)).await.map_err(|_| Failure::Unreachable(node.clone()))?;
        let link = link.ok_or_else(|| Failure::Unreachable(node.clone()))?;
        let busy = Arc::new(link.busy());
        let left = until.saturating_duration_since(Instant::now()).as_millis().max(1);
        let deadline_ms = u32::try_from(left).unwrap_or(u32::MAX);
        let body = Bytes::from(body);
        let frame = Frame::Open { actor: actor.into(), class: Class::Control, version: VERSION, deadline_ms, body };
        let duplex = timeout_at(until, link.channel.open()).await.map_err(|_| Failure::Shed(node.clone()))?;
        let duplex = duplex.map_err(|_| Failure::Lost(node.clone()))?;
        Ok(open::ask(&link, busy, duplex, &frame, until).await?.1)
    }

    async fn dial_through(&self, peer: &NodeId, relay: NodeId, stream: Duplex) -> Option<Arc<Link>> {
        let tunnel = self.0.fabric.tunnel()?;
        let at = tunnel.at();
        let mut tunnelled: Tunnelled = Box::pin(self.clone().run_tunnel(relay.clone(), pump::run(tunnel, stream)));
        let dialled = tokio::select! {
            biased;
            () = &mut tunnelled => return None,
            dialled = timeout(DIAL_THROUGH_WITHIN, self.0.fabric.dial(peer, at)) => dialled.ok()?,
        };
        let channel = dialled.inspect_err(|error| tracing::debug!(%peer, %relay, %error, "no way through")).ok()?;
        if channel.peer() != peer {
            channel.close(Close::Refused);
            return None;
        }
        let link = self.adopt(channel.clone(), true)?;
        self.counters().relayed.add_one();
        tracing::info!(%peer, %relay, "a peer that cannot be dialled is reached through another node");
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = tunnelled => {}
                () = bid_farewell(channel) => {}
            }
        });
        Some(link)
    }

    /// Runs a tunnel until it ends, or until gossip tells that the node which carries it has.
    async fn run_tunnel(self, relay: NodeId, pump: impl Future<Output = ()> + Send) {
        tokio::select! {
            () = pump => {}
            () = self.ends(&relay) => {}
        }
    }

    /// Waits until `node` is no longer a member that may be talked to.
    async fn ends(&self, node: &NodeId) {
        let mut view = self.0.view.clone();
        if view.wait_for(|view| !view.reachable().any(|member| member.node == *node)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tries now and then to do without the relay, while `link` is used.
    pub(super) async fn straighten(self, link: Arc<Link>) {
        let mut wait = DIRECT_FIRST;
        loop {
            let jitter = self.0.rng.lock().random_range(0.75..1.25);
            tokio::select! {
                () = link.is_done_with() => return,
                () = sleep(wait.mul_f64(jitter)) => {}
            }
            let addresses = (self.0.directory)(&link.peer);
            if self.dial_direct(&link.peer, &addresses).await.is_some() {
                tracing::info!(peer = %link.peer, "a peer can be reached directly again");
                return;
            }
            wait = (wait * 2).min(DIRECT_MAX);
        }
    }

    /// A direct connection has gone silent: replaces it by a relayed one, where a relay can reach the peer.
    pub(super) async fn reroute(self, peer: NodeId) {
        tracing::debug!(%peer, "nothing comes from a peer any more, relays are asked");
        let _ = self.dial_relayed(&peer).await;
    }
}

async fn bid_farewell(channel: Arc<dyn Channel>) {
    channel.closed().await;
    sleep(FAREWELL).await;
}
