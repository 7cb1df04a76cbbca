//! A new beginning with one replica: where most voters are gone for good, a survivor is made the only voter of its cluster.
//!
//! Raft has no such step, since nobody can know that the others will not come back. It is made on the files of a stopped
//! store, in one unit of the log, hence one checksummed write and one sync: a power cut leaves the log as it was or
//! recovered, never something between, and the step may be made again. The unit has a vote for this replica in a term that
//! nobody was seen in, and a membership with it as the only voter, which takes effect by being in the log. The count of
//! recoveries in that membership is what fences the old cluster off: from a replica that knows fewer, nothing is taken.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{EntryPayload, LeaderId, Membership, Vote};

use super::log::frame::{Kind, Place, Record};
use super::log::{self, Log, owner};
use super::open::lock;
use super::raft::log_store::{decode, encode, log_id, place};
use super::raft::{LogId, Peer, Types};
use super::table::{ImageTable, Table};
use super::{Error, StoreOptions, disk_error};
use crate::model::Revision;
use crate::world::World;

/// What is made of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// A term that no replica was seen in.
    pub term: u64,
    /// How often the cluster will have been recovered.
    pub recovery: u64,
    /// Replicas that go on as learners, by number: those that could be reached.
    pub learners: BTreeMap<u64, String>,
}

/// Makes the replica of `options` the only voter of its cluster. No process may have the store open. Gives the last
/// revision that is kept. Made already: nothing is written.
///
/// # Errors
/// As [`super::Store::open_with`]; [`Error::Invalid`] where there is no log to go on from. The store is as it was then.
pub fn rebuild(options: &StoreOptions, rebuild: &Rebuild, world: &World) -> Result<Revision, Error> {
    let (disk, dir) = (world.disk.clone(), &options.dir);
    let _lock = lock(world, dir)?;
    let mut salt = [0; 8];
    world.entropy.fill(&mut salt);
    let mut log = Log::open(disk.clone(), &dir.join("log"), options.segment_bytes, u64::from_le_bytes(salt))?;
    owner::claim(&*disk, dir, options.raft_id, true)?;
    let mut table = ImageTable::open(disk, &dir.join("state"))?;
    let state = table.load()?.map_or(Ok(None), |image| super::raft::machine::applied_by(&image))?;
    let Some(from) = Before::read(&log, state)? else { return Err(Error::Invalid) };
    if last_recovery(&log, world, options)? < rebuild.recovery {
        // Terms may have gone by since the replicas were asked.
        let term = rebuild.term.max(from.term + 1);
        let made = LogId::new(LeaderId::new(term, options.raft_id), from.last.index + 1);
        let unit = from.unit(rebuild, options, made).map_err(|error| disk_error(&error))?;
        log.append(&unit, from.committed).map_err(|error| disk_error(&error))?;
    }
    Ok(Revision(from.last.index))
}

/// The count of recoveries in the last entry of the log, where that is a membership; 0 elsewhere.
fn last_recovery(log: &Log, world: &World, options: &StoreOptions) -> Result<u64, Error> {
    let index = log.index();
    let slot = {
        let index = index.lock();
        index.last().and_then(|last| index.slot(last.index))
    };
    let Some(slot) = slot else { return Ok(0) };
    let read = log::read(&*world.disk, &options.dir.join("log"), &[slot]).map_err(|error| disk_error(&error))?;
    let entry = read.first().map(decode::<openraft::Entry<Types>>).transpose();
    let entry = entry.map_err(|_| Error::Damaged("the log's last entry is not readable".into()))?;
    Ok(match entry.map(|entry| entry.payload) {
        Some(EntryPayload::Membership(last)) => last.nodes().map(|(_, peer)| peer.recovery).max().unwrap_or(0),
        _ => 0,
    })
}

/// What a store holds before.
struct Before {
    /// The newest term.
    term: u64,
    /// The last entry.
    last: LogId,
    /// Whether the log ends before `last`, which the state has.
    behind: bool,
    committed: u64,
}

impl Before {
    fn read(log: &Log, state: Option<LogId>) -> Result<Option<Self>, Error> {
        let index = log.index();
        let index = index.lock();
        let logged = index.last().or(index.purged.as_ref().map(|(place, _)| *place)).map(log_id);
        let Some(last) = logged.max(state) else { return Ok(None) };
        let unreadable = |_| Error::Damaged("the log's vote is not readable".into());
        let vote: Option<Vote<u64>> = index.vote.as_ref().map(decode).transpose().map_err(unreadable)?;
        let term = vote.map_or(0, |vote| vote.leader_id.term).max(last.leader_id.term);
        Ok(Some(Self { term, last, behind: logged < Some(last), committed: index.committed }))
    }

    fn unit(&self, rebuild: &Rebuild, options: &StoreOptions, made: LogId) -> std::io::Result<Vec<Record>> {
        let peer = |node: &str| Peer { recovery: rebuild.recovery, ..Peer::on(node) };
        let mut nodes: BTreeMap<u64, Peer> = rebuild.learners.iter().map(|(id, node)| (*id, peer(node))).collect();
        nodes.insert(options.raft_id, peer(&options.node));
        let membership = Membership::new(vec![BTreeSet::from([options.raft_id])], nodes);
        let entry = openraft::Entry::<Types> { log_id: made, payload: EntryPayload::Membership(membership) };
        let vote = Vote::<u64>::new(made.leader_id.term, options.raft_id);
        let mut unit = Vec::new();
        if self.behind {
            // A state was installed and the power went before the log noted it.
            unit.push(Record { kind: Kind::Purge, place: place(&self.last), payload: encode(&self.last)? });
        }
        unit.push(Record { kind: Kind::Vote, place: Place::default(), payload: encode(&vote)? });
        unit.push(Record { kind: Kind::Entry, place: place(&made), payload: encode(&entry)? });
        Ok(unit)
    }
}
