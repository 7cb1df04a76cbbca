//! The truth of a run: who lived when, who was in trouble, who was cut off from whom.

use std::collections::BTreeSet;

use super::{History, Who};
use crate::model::NodeId;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::At;

/// From then until then, or until the end of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: At,
    /// Its end, if it has one.
    pub to: Option<At>,
}

impl Span {
    /// Begins now.
    pub fn open(from: At) -> Self {
        Self { from, to: None }
    }

    /// Whether it has a moment in `from..=to`.
    pub fn touches(&self, from: At, to: At) -> bool {
        self.from <= to && self.to.is_none_or(|end| end >= from)
    }

    /// Whether it covers all of `from..=to`.
    pub fn covers(&self, from: At, to: At) -> bool {
        self.from <= from && self.to.is_none_or(|end| end >= to)
    }
}

/// What can be wrong with a machine while its process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Stopped.
    Stopped,
    /// Runs only now and then.
    Starved,
    /// Its clock is wrong beyond the bound.
    WrongClock,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Without a word.
    Crashed,
    /// With a goodbye.
    Left,
}

/// A life of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Which node, which start.
    pub who: Who,
    /// On which machine.
    pub slot: Slot,
    /// Of which cluster.
    pub cluster: u32,
    /// From its start (and the certificate that lets it in) to its end.
    pub span: Span,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
}

impl History {
    /// The life that is meant.
    pub fn life(&self, who: &Who) -> Option<&Life> {
        self.lives.iter().find(|life| life.who == *who)
    }

    /// The life of `node` at a time.
    pub fn life_at(&self, node: &NodeId, at: At) -> Option<&Life> {
        self.lives.iter().rev().find(|life| life.who.node == *node && life.span.touches(at, at))
    }

    /// Whether the life ran, unhindered, all through `from..=to`.
    pub fn is_well(&self, life: &Life, from: At, to: At) -> bool {
        let hindered = |(slot, _, span): &&(Slot, Trouble, Span)| *slot == life.slot && span.touches(from, to);
        life.span.covers(from, to)
            && !self.troubles.iter().any(|trouble| hindered(&trouble))
            && !self.revoked.get(&life.who.node).is_some_and(|since| *since <= to)
    }

    /// Whether packets came through both ways between two machines all through `from..=to`.
    pub fn is_open(&self, a: Slot, b: Slot, from: At, to: At) -> bool {
        let cut = |(path, span): &((Slot, Slot), Span)| (*path == (a, b) || *path == (b, a)) && span.touches(from, to);
        !self.cuts.iter().any(cut)
    }

    /// Whether the network was as good as the mesh asks for all through `from..=to`.
    pub fn is_fair(&self, from: At, to: At) -> bool {
        !self.harsh.iter().any(|span| span.touches(from, to))
    }

    /// The lives of a cluster that were well all through `from..=to`.
    pub fn well(&self, cluster: u32, from: At, to: At) -> Vec<&Life> {
        self.lives.iter().filter(|life| life.cluster == cluster && self.is_well(life, from, to)).collect()
    }

    /// How many nodes of a cluster had a life in `from..=to`.
    pub fn population(&self, cluster: u32, from: At, to: At) -> usize {
        let lived = self.lives.iter().filter(|life| life.cluster == cluster && life.span.touches(from, to));
        lived.map(|life| &life.who.node).collect::<BTreeSet<_>>().len()
    }

    /// The well lives that `life` could exchange packets with all through `from..=to`; without itself.
    pub fn reaching(&self, life: &Life, from: At, to: At) -> Vec<&Life> {
        let mut well = self.well(life.cluster, from, to);
        well.retain(|other| other.slot != life.slot && self.is_open(life.slot, other.slot, from, to));
        well
    }

    /// Whether `life` was well and could exchange packets with a majority all through `from..=to`.
    pub fn is_of_majority(&self, life: &Life, from: At, to: At) -> bool {
        let with = self.reaching(life, from, to).len() + 1;
        self.is_well(life, from, to) && 2 * with > self.population(life.cluster, from, to)
    }
}
