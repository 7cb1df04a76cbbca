//! What happened in a run of the mesh, as plain values that the invariants judge: what was done to the machines and
//! the network (the truth), and what the meshes said and did (the claims).

mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use super::net::{Host, Slot};
use super::time::At;
use crate::mesh::member::Life as Liveness;
use crate::model::{NodeId, Timestamp};

pub use truth::{Ending, Life, Span, Trouble};

/// Everything that the invariants may look at.
#[derive(Debug, Default)]
pub struct History {
    /// Every life of every process, in the order of their starts.
    pub lives: Vec<Life>,
    /// When a machine was stopped, starved, or its clock wrong beyond the bound.
    pub troubles: Vec<(Slot, Trouble, Span)>,
    /// When nothing came from one machine to another.
    pub cuts: Vec<((Slot, Slot), Span)>,
    /// When more was lost or late than the mesh promises to bear.
    pub harsh: Vec<Span>,
    /// Every call.
    pub calls: BTreeMap<u64, Call>,
    /// Every time that a handler has carried out a call.
    pub executions: Vec<Execution>,
    /// When an actor was exported by a life.
    pub exports: Vec<(Who, String, Span)>,
    /// Every watch.
    pub watches: Vec<Watched>,
    /// Every change of what a node sees of a member.
    pub sights: Vec<Sight>,
    /// Every connection that was made.
    pub opened: Vec<Opened>,
    /// Every join that was asked for.
    pub joins: Vec<Join>,
    /// Requests for certificates that were granted, with whether they asked for a name that was not the node's.
    pub signed: Vec<(At, NodeId, bool)>,
    /// When which node was revoked.
    pub revoked: BTreeMap<NodeId, At>,
    /// Most connections that were seen between two machines at once, by pair, after healing.
    pub doubled: Vec<((Slot, Slot), usize)>,
    /// How things stood when the faults had stopped and the cluster had had time to converge.
    pub end: End,
}

/// A life of a node: its name and its generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Its name.
    pub node: NodeId,
    /// Which start of its process.
    pub generation: u64,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Count up, once.
    Increment,
    /// Say it again.
    Echo,
    /// Take long.
    Slow,
    /// Ask an actor that comes and goes.
    Fickle,
    /// Ask the node itself, without the network.
    Local,
    /// Count up; nobody waits for an answer.
    Cast,
    /// A byte stream that is sent back.
    Stream,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it asks for.
    pub kind: Kind,
    /// Who asks.
    pub from: Who,
    /// Whom.
    pub to: NodeId,
    /// When.
    pub asked: At,
    /// How long it may take.
    pub deadline: Duration,
    /// When it ended and how, as the caller learned.
    pub ended: Option<(At, Outcome)>,
}

/// What a caller learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer: the number of the call that it answers, and who says so.
    Answered(u64, Who),
    /// Nothing was sent.
    Unreachable,
    /// Nothing was sent.
    Shed,
    /// Nobody knows.
    Timeout,
    /// Nobody knows.
    Lost,
    /// It was not carried out: the other side says why.
    Refused(String),
}

/// A call that a handler has begun to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The call's number.
    pub call: u64,
    /// Who.
    pub on: Who,
    /// When.
    pub at: At,
}

/// A watch on a remote actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Who watches.
    pub from: Who,
    /// The node of the actor.
    pub node: NodeId,
    /// The actor.
    pub actor: String,
    /// Since when.
    pub began: At,
    /// When it ended, and whether it told of the node's end rather than the actor's.
    pub ended: Vec<(At, bool)>,
}

/// What a node sees of a member, from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Since when.
    pub at: At,
    /// Who sees.
    pub by: Who,
    /// Whom.
    pub member: NodeId,
    /// What; `None` where it is forgotten.
    pub seen: Option<Seen>,
}

/// How a member looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which start of its process.
    pub generation: u64,
    /// SWIM's counter.
    pub incarnation: u64,
    /// Whether it lives.
    pub life: Liveness,
    /// Version of what it tells about itself.
    pub version: u64,
}

/// A connection that both sides accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// When.
    pub at: At,
    /// What the dialler showed to the accepter, and the reverse.
    pub shown: [Shown; 2],
}

/// A certificate as somebody was shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Who shows it.
    pub slot: Slot,
    /// The name in it.
    pub node: NodeId,
    /// The cluster whose authority signed it.
    pub cluster: u32,
    /// When it ends.
    pub not_after: Timestamp,
    /// The cluster of whom it is shown to.
    pub to_cluster: u32,
    /// The clock of whom it is shown to.
    pub clock: Timestamp,
    /// Whether who it is shown to has been told that the node is revoked.
    pub known_revoked: bool,
}

/// A node that asked to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// When it was decided.
    pub at: At,
    /// Which token it showed.
    pub token: u64,
    /// How many nodes may use the token.
    pub uses: u32,
    /// When the token ends, by the clock of who decides; and that clock.
    pub expires: Timestamp,
    /// The clock of who decides.
    pub clock: Timestamp,
    /// Whether its secret was right.
    pub genuine: bool,
    /// The node, and which key it has.
    pub node: NodeId,
    /// Which key the node showed.
    pub key: u64,
    /// Whether it was let in.
    pub granted: bool,
}

/// How things stood at the end.
#[derive(Debug, Default)]
pub struct End {
    /// When the last fault stopped.
    pub healed: At,
    /// When the views were taken.
    pub at: At,
    /// Each node that was up: which life, and the version of what it tells about itself.
    pub up: BTreeMap<NodeId, (u64, u64)>,
    /// What each of them saw of each member that it did not see as dead or gone.
    pub views: BTreeMap<NodeId, BTreeMap<NodeId, Seen>>,
}

impl Opened {
    /// The record of a connection between two machines.
    pub fn between(at: At, dialler: Slot, dialling: &Host, accepter: Slot, accepting: &Host) -> Self {
        let shown = |slot: Slot, by: &Host, to: &Host| Shown {
            slot,
            node: by.papers.node().clone(),
            cluster: by.papers.cluster,
            not_after: by.papers.ends(),
            to_cluster: to.papers.cluster,
            clock: to.clock.shows(at),
            known_revoked: by.papers.is_refused_by(&to.papers),
        };
        Self { at, shown: [shown(dialler, dialling, accepting), shown(accepter, accepting, dialling)] }
    }
}
