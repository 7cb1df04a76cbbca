//! What happened in a run, as plain data that the invariants judge: who was told what, and how things stood at the end.

use std::collections::{BTreeMap, BTreeSet};

/// Everything that the invariants may look at.
#[derive(Debug, Default)]
pub struct History {
    /// What the clients were told about each key that only they write, oldest first.
    pub writes: BTreeMap<String, Vec<Write>>,
    /// The newest epoch that a control actor was told it has written under.
    pub epoch: u64,
    /// Epochs that were accepted after a newer one.
    pub stale_writes: Vec<u64>,
    /// What each increment of the shared counter came to.
    pub increments: Vec<Outcome>,
    /// What each key held when it was read back: after every restart and at the end, in the order of reading.
    pub reads: Vec<Read>,
    /// Each watch that was followed, across all its reconnections.
    pub watches: Vec<Followed>,
    /// How things stood when the faults had stopped and the cluster had had time to converge.
    pub end: End,
}

/// A write that a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The value written; `None` for a deletion.
    pub value: Option<String>,
    /// What the client learned.
    pub outcome: Outcome,
}

/// What a client learned of its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged, at this revision.
    Acknowledged(u64),
    /// It was refused: it must have had no effect.
    Refused,
    /// No answer came: it may have happened or not.
    Unknown,
}

/// A key as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The key.
    pub key: String,
    /// How many of the key's writes had been asked for by then.
    pub after_writes: usize,
    /// Its value; `None` where it did not exist.
    pub value: Option<String>,
    /// Its revision where it existed.
    pub revision: Option<u64>,
}

/// One followed watch: a list, then every event, resumed from the last revision after each cut.
#[derive(Debug, Default)]
pub struct Followed {
    /// Plural of the resource that is watched.
    pub resource: String,
    /// Where it began (again, after a 410): the revision of the list and what it held (key, revision).
    pub lists: Vec<(u64, BTreeMap<String, u64>)>,
    /// Every event, in the order received, after the list with the same index.
    pub events: Vec<Event>,
    /// The last revision seen; a resumed watch starts after it.
    pub position: Option<u64>,
    /// The server said that the position is gone (410): list again.
    pub expired: bool,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Index of the list that the event came after.
    pub list: usize,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: String,
    /// The object's key.
    pub key: String,
    /// The object's revision.
    pub revision: u64,
    /// A digest of the object.
    pub digest: u64,
}

/// How things stood at the end.
#[derive(Debug, Default)]
pub struct End {
    /// Every object: key to its revision.
    pub objects: BTreeMap<String, u64>,
    /// The shared counter; `None` where nobody has counted.
    pub counter: Option<u64>,
    /// Of each deployment, replica set and replication controller: wanted and live, ready pods.
    pub replicas: Vec<Replicas>,
    /// Key of an object and the uid of a controlling owner that does not exist.
    pub orphans: Vec<(String, String)>,
    /// Uids of pods.
    pub pods: BTreeSet<String>,
    /// Uids of pods that containers exist for, with the container's name; one entry a container that runs.
    pub containers: Vec<(String, String)>,
}

/// Pods that an object wants and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// The object.
    pub key: String,
    /// `spec.replicas`.
    pub wanted: i64,
    /// Pods that it controls, that are not being deleted and are Ready.
    pub ready: i64,
    /// Pods that it controls, in any state.
    pub pods: i64,
}
