//! The relay's part: leads a stream of one node on to another, without looking at what it carries.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{ARRIVE, Arrive, Carry, pump, read};
use crate::mesh::address::{Failure, Refusal};
use crate::mesh::exports::{Stream, Streams};
use crate::mesh::fabric::Duplex;
use crate::mesh::links::{Inner, Links};
use crate::model::NodeId;

/// Most pairs of nodes that one node carries between.
pub const MAX_CARRIED: usize = 256;
/// Most of these that one node may have a part in: each takes one of the streams that a connection may have.
pub const MAX_CARRIED_OF: usize = 32;
/// How long the far end may take to agree; the near one waits longer.
const LEAD_ON_WITHIN: Duration = Duration::from_millis(1500);

/// Tunnels that this node has a part in now, and by node how many each has a part in.
#[derive(Default)]
pub struct Carrying(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    total: usize,
    of: BTreeMap<NodeId, usize>,
}

impl Carrying {
    /// How many tunnels there are.
    pub fn count(&self) -> usize {
        self.0.lock().total
    }

    pub(super) fn enter(&self, nodes: &[&NodeId]) -> bool {
        let mut counts = self.0.lock();
        let full = |node: &NodeId| counts.of.get(node).is_some_and(|count| *count >= MAX_CARRIED_OF);
        if counts.total >= MAX_CARRIED || nodes.iter().any(|node| full(node)) {
            return false;
        }
        counts.total += 1;
        for node in nodes {
            *counts.of.entry((*node).clone()).or_default() += 1;
        }
        true
    }

    pub(super) fn leave(&self, nodes: &[&NodeId]) {
        let mut counts = self.0.lock();
        counts.total -= 1;
        for node in nodes {
            match counts.of.get_mut(*node) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.of.remove(*node)),
            }
        }
    }
}

/// A place in [`Carrying`]; free again when dropped.
struct Place {
    links: Links,
    origin: NodeId,
    target: NodeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.links.0.carrying.leave(&[&self.origin, &self.target]);
    }
}

/// The actor that others ask to carry.
pub struct Relay(Weak<Inner>);

impl Relay {
    /// The relay of a node.
    pub fn of(links: &Links) -> Self {
        Self(Arc::downgrade(&links.0))
    }
}

#[async_trait]
impl Streams for Relay {
    async fn open(&self, from: &NodeId, _version: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        let Carry { target } = read(&header)?;
        let inner = self.0.upgrade().ok_or(Refusal::Busy)?;
        let place = Links(inner).admit(from, target).inspect_err(|_| self.count_refusal())?;
        let header = Arrive { origin: from.clone() };
        let until = Instant::now() + LEAD_ON_WITHIN;
        let far = place.links.lead_to(&place.target, ARRIVE, &header, until).await;
        let far = far.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            failure => Refusal::Failed(failure.to_string()),
        })?;
        place.links.counters().relays_carried.add_one();
        Ok(Box::new(Carried { place, far }))
    }
}

impl Relay {
    fn count_refusal(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.context.counters.relays_refused.add_one();
        }
    }
}

impl Links {
    /// How many pairs of nodes this node carries between.
    pub fn carried(&self) -> usize {
        self.0.carrying.count()
    }

    fn admit(self, origin: &NodeId, target: NodeId) -> Result<Place, Refusal> {
        let me = &self.0.context.me;
        let forbidden = |text: String| Err(Refusal::Forbidden(text));
        if origin == me || target == *me || *origin == target {
            return forbidden("a relay needs two others".to_owned());
        }
        for node in [origin, &target] {
            if self.is_refused(node) || !self.is_member(node) {
                return forbidden(format!("{node} is no member that can be reached"));
            }
        }
        if !self.0.carrying.enter(&[origin, &target]) {
            return Err(Refusal::Busy);
        }
        Ok(Place { links: self, origin: origin.clone(), target })
    }
}

struct Carried {
    place: Place,
    far: Duplex,
}

#[async_trait]
impl Stream for Carried {
    async fn serve(self: Box<Self>, near: Duplex) {
        let Self { place, far } = *self;
        let Duplex { send: mut near_send, receive: mut near_receive } = near;
        let Duplex { send: mut far_send, receive: mut far_receive } = far;
        let carried = &place.links.counters().relayed_bytes;
        tokio::select! {
            _ = pump::hand_on(&mut *near_receive, &mut *far_send, carried) => {}
            _ = pump::hand_on(&mut *far_receive, &mut *near_send, carried) => {}
            () = place.links.ends(&place.origin) => {}
            () = place.links.ends(&place.target) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId(name.into())
    }

    #[test]
    fn one_node_has_its_share_and_gets_it_back() {
        let (carrying, a) = (Carrying::default(), id("a"));
        for other in 0..MAX_CARRIED_OF {
            assert!(carrying.enter(&[&a, &id(&other.to_string())]));
        }
        assert!(!carrying.enter(&[&a, &id("b")]), "as origin");
        assert!(!carrying.enter(&[&id("b"), &a]), "as target");
        assert!(carrying.enter(&[&id("b"), &id("c")]));
        carrying.leave(&[&a, &id("0")]);
        assert!(carrying.enter(&[&a, &id("b")]));
    }

    #[test]
    fn all_together_have_a_bound() {
        let carrying = Carrying::default();
        let pairs: Vec<_> = (0..=MAX_CARRIED).map(|pair| [id(&format!("a{pair}")), id(&format!("b{pair}"))]).collect();
        let taken = pairs.iter().filter(|[one, other]| carrying.enter(&[one, other])).count();
        assert_eq!((taken, carrying.count()), (MAX_CARRIED, MAX_CARRIED));
        pairs.iter().take(MAX_CARRIED).for_each(|[one, other]| carrying.leave(&[one, other]));
        assert_eq!((carrying.count(), carrying.0.lock().of.len()), (0, 0));
    }
}
