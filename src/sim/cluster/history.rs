//! What happened in a run of the cluster, as plain data that the invariants judge.

use std::collections::BTreeMap;

use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::At;

/// Everything that the invariants may look at.
#[derive(Debug, Default)]
pub struct History {
    /// Every entry that any replica applied, by its place in the log, as the first one applied it.
    pub log: BTreeMap<u64, Entry>,
    /// Where a replica applied something else than the first one did.
    pub disagreements: Vec<String>,
    /// Where a replica applied an entry that did not follow the one before.
    pub jumps: Vec<String>,
    /// Who was seen to lead.
    pub reigns: Vec<Reign>,
    /// What clients asked, and what they were told.
    pub operations: Vec<Operation>,
    /// Each watch that was followed, from node to node.
    pub followers: Vec<Followed>,
    /// Stores that did not open, with the reason; those whose disk was not tampered with.
    pub refusals: Vec<String>,
    /// Stores that ended by themselves on a disk that did what it was asked.
    pub deaths: Vec<String>,
    /// What ran twice and must not, and where.
    pub doubles: Vec<String>,
    /// How things stood at the end.
    pub end: End,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Term of its leader.
    pub term: u64,
    /// Number of its leader.
    pub leader: u64,
    /// What it asks.
    pub content: Content,
    /// Whether that was done; otherwise a compare failed or the fence was stale.
    pub done: bool,
}

/// What an entry asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These writes, perhaps as a control actor of an epoch.
    Writes(Vec<Put>, Option<(String, u64)>),
    /// To forget history.
    Compact(u64),
    /// Other members.
    Members,
    /// Nothing.
    Blank,
}

/// A write of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// What is written; `None` for a deletion.
    pub value: Option<u64>,
}

/// A replica was seen to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reign {
    /// In this term.
    pub term: u64,
    /// Its number.
    pub replica: u64,
    /// The machine, and which start of its process.
    pub life: (Slot, u64),
    /// Index of the last entry that it held when it was seen.
    pub last: u64,
    /// Index of the last entry of an older leader that anybody had applied by then.
    pub applied: u64,
}

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Through which node.
    pub node: Slot,
    /// The key.
    pub key: String,
    /// What.
    pub ask: Ask,
    /// When.
    pub from: At,
    /// When it was answered, and how; `None` where its node died first.
    pub answer: Option<(At, Answer)>,
}

/// What can be asked of a key. Every value is written once only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Its value, linearizably.
    Read,
    /// To write this, whatever it holds; `None` deletes.
    Write(Option<u64>),
    /// To write `new` where it holds `expected`.
    Swap {
        /// What it must hold; `None`: it must not exist.
        expected: Option<u64>,
        /// What to write.
        new: u64,
    },
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The value.
    Value(Option<u64>),
    /// It was written, at this revision.
    Done(u64),
    /// The compare failed: it was not written.
    Conflict,
    /// It was certainly not carried out.
    Not,
    /// Nobody knows.
    Unknown,
}

/// A followed watch: a list, then every change, resumed elsewhere from the last revision after each cut.
#[derive(Debug, Default)]
pub struct Followed {
    /// Where it began, again after each compaction that overtook it: the revision of a list.
    pub lists: Vec<u64>,
    /// Changes, in the order received: index of the list before, revision, key, and whether the key exists after it.
    pub events: Vec<(usize, u64, String, bool)>,
    /// By list: everything up to here was delivered.
    pub reached: Vec<u64>,
    /// Times that it went on on another node.
    pub moves: u64,
}

/// How things stood at the end.
#[derive(Debug, Default)]
pub struct End {
    /// When everything was mended.
    pub healed: At,
    /// When all agreed, where they ever did.
    pub agreed: Option<At>,
    /// Sets of pods that were not what is asked for, and pods that do not run where they should.
    pub unsettled: Vec<String>,
    /// By machine.
    pub replicas: BTreeMap<Slot, Replica>,
}

/// A replica as it stood.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Every object: revision and value.
    pub objects: BTreeMap<String, (u64, Option<u64>)>,
    /// Numbers of all members, and whether each votes.
    pub members: BTreeMap<u64, bool>,
    /// Who leads, as it knows.
    pub leader: Option<String>,
}

impl History {
    /// The objects that the log makes, in order.
    pub fn replayed(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut objects = BTreeMap::new();
        for (revision, put) in self.puts() {
            match put.value {
                Some(value) => drop(objects.insert(put.key.as_str(), (revision, value))),
                None => drop(objects.remove(put.key.as_str())),
            }
        }
        objects
    }

    /// Every write that the log carried out, with its revision.
    pub fn puts(&self) -> impl Iterator<Item = (u64, &Put)> {
        self.log.iter().filter(|(_, entry)| entry.done).flat_map(|(revision, entry)| match &entry.content {
            Content::Writes(puts, _) => puts.iter().map(|put| (*revision, put)).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
    }
}
