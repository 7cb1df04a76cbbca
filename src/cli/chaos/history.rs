//! What happened, as clients saw it: the only thing that checks and figures are made from.
//!
//! Times are microseconds since the begin of the load.

use std::collections::BTreeMap;

use super::scenario::Act;

/// Most records of one kind; a load that would need more is ended.
pub const MAX_RECORDS: usize = 1_000_000;

/// Microseconds since the begin of the load.
pub type Micros = u64;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Makes a ConfigMap.
    Create,
    /// Replaces one that has a revision.
    Update,
    /// Deletes one that has a revision.
    Delete,
    /// Reads one, as of now.
    Read,
    /// Gives a deployment another pod template.
    Rollout,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Delete, Self::Read, Self::Rollout];

    /// As reports show it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Rollout => "rollout",
        }
    }

    /// Whether it changes something.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done {
        /// Revision of the object now; for a deletion, where the server tells one. `None` where a read found nothing.
        revision: Option<u64>,
        /// The value that a read found.
        value: Option<String>,
        /// A read that the server itself called stale.
        stale: bool,
    },
    /// It was not carried out: an answer that says so, or nothing was sent.
    Refused {
        /// HTTP status; 0 where there was no connection.
        code: u16,
        /// Why.
        why: String,
    },
    /// It may have been carried out, and may still be.
    Unknown {
        /// HTTP status; 0 where there was no answer.
        code: u16,
        /// Why.
        why: String,
    },
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub client: u16,
    /// Which node was asked.
    pub node: usize,
    /// What for.
    pub kind: Kind,
    /// About which object.
    pub key: String,
    /// The value that is written, which no other request writes.
    pub value: Option<String>,
    /// Revision that the object must have for the write to be carried out.
    pub base: Option<u64>,
    /// 1, and more where the same thing was asked for before.
    pub attempt: u16,
    /// When it was sent.
    pub began: Micros,
    /// When it ended.
    pub ended: Micros,
    /// How.
    pub outcome: Outcome,
}

impl Request {
    /// Whether it was carried out.
    pub fn done(&self) -> bool {
        matches!(self.outcome, Outcome::Done { .. })
    }

    /// Whether it may have been carried out.
    pub fn unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown { .. })
    }

    /// Revision of what was carried out.
    pub fn revision(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Done { revision, .. } => revision,
            _ => None,
        }
    }
}

/// An object's value at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its revision.
    pub revision: u64,
    /// Its value.
    pub value: String,
}

/// What a watcher saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Which watcher.
    pub watcher: u16,
    /// When.
    pub at: Micros,
    /// What.
    pub sight: Sight,
}

/// What a watcher saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It listed everything, and watches from there.
    Listed {
        /// Revision of the list.
        revision: u64,
        /// What was there.
        items: BTreeMap<String, Item>,
    },
    /// It went on at a node, from the last revision that it had seen.
    Resumed {
        /// The node.
        node: usize,
    },
    /// Something changed.
    Change {
        /// Revision of the change.
        revision: u64,
        /// Whether the object is gone.
        deleted: bool,
        /// Which object.
        key: String,
        /// Its value.
        value: String,
    },
}

/// What a node said of the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    /// When.
    pub at: Micros,
    /// Which node said it.
    pub node: usize,
    /// Its term.
    pub term: u64,
    /// Who leads it, as far as the node knows.
    pub leader: Option<String>,
}

/// A fault as it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// What.
    pub act: Act,
    /// Whom it met, by name.
    pub nodes: Vec<String>,
    /// When it was there.
    pub began: Micros,
    /// When it was gone.
    pub ended: Option<Micros>,
    /// What a program said about it, and what went wrong with it.
    pub said: Result<String, String>,
}

/// A deployment at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converged {
    /// Its name, as a key.
    pub key: String,
    /// What its pod template has.
    pub value: String,
    /// How long it took from the end of the load, or what it lacks.
    pub outcome: Result<Micros, String>,
}

/// What became of a replica whose files were damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Its node.
    pub node: String,
    /// Its number before.
    pub before: u64,
    /// Its number at the end, where it is in the cluster.
    pub after: Option<u64>,
    /// What its node said of a new beginning.
    pub said: Option<String>,
}

impl Repair {
    /// Whether it began anew and said so.
    pub fn is_done(&self) -> bool {
        self.after.is_some_and(|after| after != self.before) && self.said.is_some()
    }
}

/// What is there when all is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// What each node lists, or why it does not.
    pub listings: Vec<(String, Result<BTreeMap<String, Item>, String>)>,
    /// The deployments.
    pub deployments: Vec<Converged>,
    /// How long it took until every node's API showed every node Ready, or what it shows instead.
    pub healed: Option<Result<Micros, String>>,
    /// Replicas whose files were damaged.
    pub repairs: Vec<Repair>,
    /// Processes that ended without being told to.
    pub deaths: Vec<String>,
    /// Revision of the very last write, which every watcher has to see.
    pub last_revision: Option<u64>,
}

/// All that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Requests, in the order in which they ended.
    pub requests: Vec<Request>,
    /// What watchers saw, each one's in its order.
    pub watched: Vec<Watched>,
    /// What nodes said of the quorum.
    pub led: Vec<Led>,
    /// Faults, in the order in which they began.
    pub faults: Vec<Carried>,
    /// When the load ended.
    pub load_ended: Micros,
    /// What is there at the end.
    pub ending: Ending,
    /// Whatever else a reader should know.
    pub notes: Vec<String>,
}

impl History {
    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        [self.requests.len(), self.watched.len(), self.led.len()].iter().any(|len| *len >= MAX_RECORDS)
    }
}
