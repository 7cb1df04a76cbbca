//! The machines of a run: which of them run, and how they are driven and looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::history::{Reign, Replica};
use super::keeper::{NEAR, TERMS};
use super::life::{Seat, live};
use super::site::{Office, Process, Site};
use super::workload::{Shared, Wanted, name_of, value_in};
use crate::mesh::exports::Exports;
use crate::mesh::gossip;
use crate::mesh::handle::{Mesh, MeshParts};
use crate::mesh::member::Meta;
use crate::model::{NodeId, Scope};
use crate::plan::quorum;
use crate::sim::mesh::fabric::SimFabric;
use crate::sim::mesh::machine::Machine;
use crate::sim::mesh::net::{SimNet, Slot};
use crate::sim::mesh::time::{At, Hand};
use crate::sim::nodes::body::Body;
use crate::store::{FIRST_VOTER, Standing, Store};
use crate::world::World;
use crate::world::entropy::{Rng, SeededEntropy};

/// All machines.
pub struct Fleet {
    /// What decides everything.
    pub seed: u64,
    /// Between them.
    pub net: SimNet,
    /// The run's time.
    pub hand: Hand,
    /// What all lives share.
    pub shared: Shared,
    /// By number.
    pub sites: Vec<Site>,
    /// Numbers of replicas that were given so far.
    pub replicas: u64,
    rng: Rng,
}

impl Fleet {
    /// Machines on which nothing runs yet.
    pub fn new(seed: u64, hand: Hand, shared: Shared, sites: Vec<Site>) -> Self {
        let rng = Rng::seed_from_u64(seed ^ 0x0063_6c75_7374);
        Self { seed, net: SimNet::new(seed), hand, shared, sites, replicas: FIRST_VOTER - 1, rng }
    }

    /// A number that no replica has had.
    pub fn next_replica(&mut self) -> u64 {
        self.replicas += 1;
        self.replicas
    }

    /// Starts the process on a machine, with what its disk holds.
    pub fn boot(&mut self, slot: Slot) -> Result<(), String> {
        let at = self.hand.at();
        let peers: Vec<_> = self.sites.iter().map(|site| (Some(site.name.clone()), site.at)).collect();
        let Some(wanted) = self.shared.wanted.lock().get(&slot).copied() else { return Ok(()) };
        let nodes = self.sites.len();
        let Some(site) = self.sites.get_mut(slot).filter(|site| !site.is_up()) else { return Ok(()) };
        site.begin();
        let seed = self.seed ^ (slot as u64).rotate_left(40) ^ site.life.rotate_left(20);
        let machine = Machine::start(seed, Arc::clone(&site.clock), at).map_err(|error| error.to_string())?;
        self.net.boot(slot, site.at, site.life, site.papers.clone(), Arc::clone(&site.clock));
        let entropy = Arc::new(SeededEntropy::new(seed));
        let world = World { clock: site.clock.clone(), entropy, disk: site.disk.boot() };
        let (parts, office) = (parts(site, &self.net, peers, world.clone()), Office::default());
        let exports = parts.exports.clone();
        machine.inside(|| {
            let (mesh, task) = Mesh::new(parts);
            let seat = Seat {
                slot,
                nodes,
                life: site.life,
                name: site.name.clone(),
                raft_id: wanted.raft_id,
                mesh,
                world,
                clock: Arc::clone(&site.clock),
                office: office.clone(),
                body: site.body.clone(),
                shared: self.shared.clone(),
                seed,
            };
            machine.begin(async move { drop(task.run_with(gossip::drive).await) });
            machine.begin(live(seat));
        });
        site.process = Some(Process { machine, exports, office, leads: false });
        self.shared.trace.note(format!("n{slot} starts for the {}. time as replica {}", site.life, wanted.raft_id));
        Ok(())
    }

    /// Ends the process on a machine without a word; its disk keeps what was written. Whole nodes go with their machine:
    /// nobody would end the pods of one that is gone, see `docs/CLUSTER.md`.
    pub fn kill(&mut self, slot: Slot) {
        self.net.crash(slot);
        let Some(site) = self.sites.get_mut(slot) else { return };
        site.disk.kill();
        if let Some(process) = site.process.take() {
            process.kill();
            site.body.iter().for_each(Body::lose_power);
            self.shared.trace.note(format!("n{slot} is killed"));
        }
    }

    /// The power goes: the process ends, and its disk loses what it did not yet hold.
    pub fn lose_power(&mut self, slot: Slot) {
        if let Some(site) = self.sites.get(slot) {
            site.disk.crash(&mut self.rng);
            self.shared.trace.note(format!("n{slot} loses its power"));
        }
        self.kill(slot);
    }

    /// Ends every process, after the run.
    pub fn end_all(&mut self) {
        (0..self.sites.len()).for_each(|slot| self.kill(slot));
    }

    /// Lets every process run from `from` to `to`: in a random order, the stopped ones not at all, the starved ones now and
    /// then.
    pub fn drive(&mut self, from: At, to: At) -> Result<(), String> {
        let mut order: Vec<Slot> = (0..self.sites.len()).collect();
        order.shuffle(&mut self.rng);
        for slot in order {
            let Some(site) = self.sites.get_mut(slot).filter(|site| !site.frozen) else { continue };
            if site.starved.is_some_and(|one_in| self.rng.random_range(0..one_in.max(1)) != 0) {
                continue;
            }
            if let Some(process) = &mut site.process {
                process.machine.drive(from, to).map_err(|error| format!("INV-C0 no-panic: {}: {error}", site.name))?;
            }
        }
        Ok(())
    }

    /// Looks at every process: gives those that have ended by themselves, with what their store said, and writes down who
    /// leads.
    pub fn look(&mut self) -> Vec<(Slot, crate::store::Error)> {
        let mut ended = Vec::new();
        for site in &mut self.sites {
            let life = (site.slot, site.life);
            let Some(process) = &mut site.process else { continue };
            if let Some(cause) = process.office.ended() {
                ended.push((site.slot, cause));
                continue;
            }
            let Some(store) = process.office.store() else { continue };
            let leads = store.leads();
            if leads && !process.leads {
                let (term, replica, last) = (store.stats().term, store.raft_id(), store.log_end());
                self.shared.trace.note(format!("n{} leads in term {term}", site.slot));
                let mut history = self.shared.history.lock();
                let older = history.log.iter().rev().find(|(_, entry)| (entry.term, entry.leader) < (term, replica));
                let applied = older.map_or(0, |(index, _)| *index);
                history.reigns.push(Reign { term, replica, life, last, applied });
            }
            process.leads = leads;
        }
        self.move_watches();
        ended
    }

    /// A watch whose node is gone goes on elsewhere.
    fn move_watches(&mut self) {
        let up: Vec<Slot> = self.sites.iter().filter(|site| site.is_up()).map(|site| site.slot).collect();
        for on in self.shared.followed_on.lock().iter_mut().filter(|on| !up.contains(on)) {
            *on = up.get(self.rng.random_range(0..up.len().max(1))).copied().unwrap_or(*on);
        }
    }

    /// Whether whole nodes run here.
    pub fn is_of_whole_nodes(&self) -> bool {
        self.sites.iter().any(|site| site.body.is_some())
    }

    /// The store that leads, where one does that all others that run know of.
    pub fn leader(&self) -> Option<Store> {
        let leads = |site: &&Site| site.process.as_ref().is_some_and(|process| process.leads) && !site.frozen;
        let mut leaders = self.sites.iter().filter(leads);
        let first = leaders.next()?.store();
        if leaders.next().is_some() { None } else { first }
    }

    /// Whether the cluster has exactly the members that are wanted, and all of them hold nearly everything.
    pub fn is_whole(&self) -> bool {
        self.is_whole_of(&self.shared.wanted.lock())
    }

    /// The same, with the members that are wanted.
    pub fn is_whole_of(&self, wanted: &BTreeMap<Slot, Wanted>) -> bool {
        let Some(leader) = self.leader() else { return false };
        let members = leader.members();
        let stay = wanted.values().filter(|one| !one.leaving).count();
        let voters = members.iter().filter(|member| member.standing != Standing::Learner).count();
        let near = |member: &crate::store::Replica| member.lag.is_some_and(|lag| lag < NEAR);
        let known = |one: &Wanted| members.iter().any(|member| member.raft_id == one.raft_id && near(member));
        members.len() == wanted.len() && voters == quorum::wanted(stay, TERMS.voters_max) && wanted.values().all(known)
    }

    /// Whether somebody tampered with a disk, or it lied.
    pub fn is_marked(&self, slot: Slot) -> bool {
        self.sites.get(slot).is_some_and(|site| site.lied || site.tampered)
    }

    /// Whether the replica on a machine votes, as the leader knows; `None` where nobody leads.
    pub fn votes(&self, slot: Slot) -> Option<bool> {
        let raft_id = self.shared.wanted.lock().get(&slot)?.raft_id;
        let members = self.leader()?.members();
        members.iter().find(|member| member.raft_id == raft_id).map(|member| member.standing != Standing::Learner)
    }

    /// How a replica stands.
    pub fn replica(&self, slot: Slot) -> Option<Replica> {
        let store = self.sites.get(slot)?.store()?;
        let records = store.list(&Scope::ALL, None, None, 0).ok()?.records;
        let object = |record: &Arc<crate::store::Record>| {
            (name_of(&record.key), (record.modified.0, value_in(&record.key, &record.value)))
        };
        let members = store.members();
        Some(Replica {
            objects: records.iter().map(object).collect(),
            members: members.iter().map(|member| (member.raft_id, member.standing != Standing::Learner)).collect(),
            leader: store.leader(),
        })
    }
}

fn parts(site: &Site, net: &SimNet, peers: Vec<(Option<NodeId>, std::net::SocketAddr)>, world: World) -> MeshParts {
    MeshParts {
        me: site.name.clone(),
        generation: site.life,
        fabric: Arc::new(SimFabric::new(net.clone(), site.slot, site.life, site.at, Arc::clone(&site.clock))),
        exports: Exports::default(),
        meta: Meta { version: 1, addresses: vec![site.at], protocol: 1, release: "0.1.0".into(), ..Meta::default() },
        peers: peers.into_iter().filter(|(_, at)| *at != site.at).collect(),
        world,
    }
}
