//! The machines of a run: which of them run, with what they remember from life to life, and how they are driven.
//!
//! `join` how strangers become nodes; `look` what is written down of what they see.

pub mod join;
mod look;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use self::join::Tokens;
use super::authority::{Authorities, Papers};
use super::fabric::SimFabric;
use super::history::{Ending, Life, Seen, Span, Who};
use super::machine::Machine;
use super::net::{SimNet, Slot};
use super::time::{At, Hand, NodeClock};
use super::workload::actors::{Scribe, come_and_go, export};
use super::workload::callers::call_for_ever;
use super::workload::renew::{CERTIFIER, Certifier, Certifying, renew_for_ever};
use super::workload::watchers::watch_for_ever;
use super::workload::{Desk, Shared};
use crate::mesh::exports::Exports;
use crate::mesh::gossip;
use crate::mesh::handle::{Mesh, MeshParts};
use crate::mesh::member::{Meta, SharedView};
use crate::mesh::membership::generation;
use crate::model::NodeId;
use crate::world::World;
use crate::world::disk::sim::SimDisk;
use crate::world::entropy::{Rng, SeededEntropy};

/// Callers and watchers at each node.
const CALLERS: usize = 3;
const WATCHERS: usize = 2;
/// The first nodes of a cluster have the authority's key.
pub const CERTIFIERS: usize = 3;

/// A machine and what is on it.
pub struct Site {
    /// Its number.
    pub slot: Slot,
    /// The node's name.
    pub name: NodeId,
    /// Its cluster.
    pub cluster: u32,
    /// Where it listens.
    pub at: SocketAddr,
    /// Starts of its process so far.
    pub generation: u64,
    /// Its wall clock.
    pub clock: Arc<NodeClock>,
    /// Its certificate and what it trusts, as its disk keeps it; none before it has joined.
    pub papers: Option<Papers>,
    /// Peers that it remembers from life to life.
    pub remembered: BTreeMap<NodeId, SocketAddr>,
    /// The process, where it runs.
    process: Option<Process>,
    /// The process is stopped.
    pub frozen: bool,
    /// The process runs only in a slice of time in so many.
    pub starved: Option<u32>,
}

struct Process {
    machine: Machine,
    mesh: Mesh,
    view: watch::Receiver<SharedView>,
    last: BTreeMap<NodeId, Seen>,
}

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
    /// Who signs.
    pub authorities: Authorities,
    /// Tokens that strangers join with.
    pub tokens: Tokens,
    rng: Rng,
}

impl Site {
    /// A machine whose node has not joined.
    pub fn new(slot: Slot, name: &str, cluster: u32, clock: NodeClock) -> Self {
        Self {
            slot,
            name: NodeId(name.into()),
            cluster,
            at: address(slot, 0),
            generation: 0,
            clock: Arc::new(clock),
            papers: None,
            remembered: BTreeMap::new(),
            process: None,
            frozen: false,
            starved: None,
        }
    }

    /// Whether a process runs on it.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The life that runs, or ran last.
    pub fn who(&self) -> Who {
        Who { node: self.name.clone(), generation: self.generation }
    }
}

/// An address of a machine; `moves` counts how often it has got a new one.
pub fn address(slot: Slot, moves: u64) -> SocketAddr {
    let last = u8::try_from(slot % 200).unwrap_or(0) + 1;
    SocketAddr::from(([10, u8::try_from(moves % 250).unwrap_or(0), 0, last], 7946))
}

impl Fleet {
    /// Machines on which nothing runs yet.
    pub fn new(seed: u64, hand: Hand, shared: Shared, sites: Vec<Site>, authorities: Authorities) -> Self {
        let rng = Rng::seed_from_u64(seed ^ 0x666c_6565_74);
        Self { seed, net: SimNet::new(seed), hand, shared, sites, authorities, tokens: Tokens::default(), rng }
    }

    /// Founds a cluster on a machine.
    pub fn found(&mut self, slot: Slot) -> Result<(), String> {
        let at = self.hand.at();
        if let Some(site) = self.sites.get_mut(slot) {
            let (now, clock) = (site.clock.shows(at), site.clock.clone());
            site.papers = Some(self.authorities.papers(&site.name, site.cluster, now, clock)?);
        }
        self.boot(slot)
    }

    /// Starts the process on a machine, with what it remembers.
    pub fn boot(&mut self, slot: Slot) -> Result<(), String> {
        let at = self.hand.at();
        let names = self.names_of(slot);
        let Some(site) = self.sites.get_mut(slot).filter(|site| site.process.is_none()) else { return Ok(()) };
        let Some(papers) = site.papers.clone() else { return Ok(()) };
        site.generation = generation::next(Some(site.generation), site.clock.shows(at));
        let (who, life) = (site.who(), site.generation);
        let seed = self.seed ^ (slot as u64).rotate_left(40) ^ life.rotate_left(20);
        let machine = Machine::start(seed, Arc::clone(&site.clock), at).map_err(|error| error.to_string())?;
        self.net.boot(slot, site.at, life, papers, Arc::clone(&site.clock));
        let parts = parts(site, &self.net, seed);
        let scribe = Scribe { who: who.clone(), clock: Arc::clone(&site.clock), shared: self.shared.clone() };
        let setup = Setup {
            scribe,
            names,
            slot,
            cluster: site.cluster,
            net: self.net.clone(),
            seed,
            authorities: self.authorities.clone(),
        };
        let (mesh, view) = machine.inside(|| bring_up(parts, setup, &machine));
        site.frozen = false;
        site.starved = None;
        site.process = Some(Process { machine, mesh, view, last: BTreeMap::new() });
        let life = Life { who, slot, cluster: site.cluster, span: Span::open(at), ending: None };
        self.shared.trace.note(format!("{} starts for the {}. time at {}", site.name, site.generation, site.at));
        self.shared.history.lock().lives.push(life);
        Ok(())
    }

    /// The names of the cluster of a machine, as an administrator knows them.
    fn names_of(&self, slot: Slot) -> Vec<NodeId> {
        let cluster = self.sites.get(slot).map(|site| site.cluster);
        self.sites.iter().filter(|site| Some(site.cluster) == cluster).map(|site| site.name.clone()).collect()
    }

    /// Whether a machine remembers a running member by its present address.
    pub fn can_find_another(&self, slot: Slot) -> bool {
        let Some(site) = self.sites.get(slot) else { return false };
        let found = |other: &Site| other.is_up() && site.remembered.get(&other.name) == Some(&other.at);
        self.sites.iter().any(|other| other.slot != slot && other.cluster == site.cluster && found(other))
    }

    /// Ends the process on a machine without a word.
    pub fn crash(&mut self, slot: Slot) {
        self.end(slot, Some(Ending::Crashed));
    }

    /// The process on a machine says goodbye; it must be killed a moment later with [`Fleet::kill`].
    pub fn leave(&mut self, slot: Slot) {
        let Some(site) = self.sites.get(slot) else { return };
        let Some(process) = &site.process else { return };
        self.shared.trace.note(format!("{} leaves", site.name));
        let mesh = process.mesh.clone();
        process.machine.begin(async move { mesh.leave().await });
        self.write_end(slot, Ending::Left);
    }

    /// Ends the process of a node that has left.
    pub fn kill(&mut self, slot: Slot) {
        self.end(slot, None);
    }

    fn end(&mut self, slot: Slot, ending: Option<Ending>) {
        if let Some(ending) = ending {
            self.write_end(slot, ending);
        }
        let papers = self.net.papers(slot, |papers| papers.clone());
        self.net.crash(slot);
        let Some(site) = self.sites.get_mut(slot) else { return };
        if let Some(process) = site.process.take() {
            self.shared.trace.note(format!("{} is killed", site.name));
            site.papers = papers.or(site.papers.take());
            let seen = process.view.borrow().members.clone();
            let others = seen.into_values().filter(|member| member.node != site.name);
            site.remembered.extend(others.filter_map(|member| Some((member.node, *member.meta.addresses.first()?))));
            let Process { machine, mesh, view, .. } = process;
            machine.inside(|| std::mem::drop((mesh, view)));
            machine.kill();
        }
    }

    /// Ends every process, after the run.
    pub fn end_all(&mut self) {
        (0..self.sites.len()).for_each(|slot| self.end(slot, None));
    }

    fn write_end(&mut self, slot: Slot, ending: Ending) {
        let Some(site) = self.sites.get(slot).filter(|site| site.process.is_some()) else { return };
        let (who, at) = (site.who(), self.hand.at());
        let mut history = self.shared.history.lock();
        if let Some(life) = history.lives.iter_mut().rev().find(|life| life.who == who && life.span.to.is_none()) {
            life.span.to = Some(at);
            life.ending = Some(ending);
        }
        let open = |(of, _, span): &&mut (Who, String, Span)| *of == who && span.to.is_none();
        history.exports.iter_mut().filter(open).for_each(|(_, _, span)| span.to = Some(at));
    }

    /// Lets every process run from `from` to `to`: in a random order, the stopped ones not at all, the starved ones
    /// now and then.
    pub fn drive(&mut self, from: At, to: At) -> Result<(), String> {
        let mut order: Vec<Slot> = (0..self.sites.len()).collect();
        order.shuffle(&mut self.rng);
        for slot in order {
            let Some(site) = self.sites.get_mut(slot).filter(|site| !site.frozen) else { continue };
            if site.starved.is_some_and(|one_in| self.rng.random_range(0..one_in.max(1)) != 0) {
                continue;
            }
            if let Some(process) = &mut site.process {
                process.machine.drive(from, to).map_err(|error| format!("INV-M0 no-panic: {}: {error}", site.name))?;
            }
        }
        Ok(())
    }

    /// Tells the mesh on a machine whom to refuse from now on.
    pub fn refuse_revoked(&self, slot: Slot) {
        let Some(Process { machine, mesh, .. }) = self.sites.get(slot).and_then(|site| site.process.as_ref()) else {
            return;
        };
        let revoked = self.net.papers(slot, |papers| papers.revoked()).unwrap_or_default();
        machine.inside(|| mesh.refuse(move |node| revoked.contains(node)));
    }
}

fn parts(site: &Site, net: &SimNet, seed: u64) -> MeshParts {
    let life = site.generation;
    let peers = site.remembered.iter().map(|(node, at)| (Some(node.clone()), *at)).collect();
    MeshParts {
        me: site.name.clone(),
        generation: life,
        fabric: Arc::new(SimFabric::new(net.clone(), site.slot, life, site.at, Arc::clone(&site.clock))),
        exports: Exports::default(),
        meta: Meta {
            version: 1,
            addresses: vec![site.at],
            protocol: 1,
            release: "0.1.0".into(),
            role: "learner".into(),
            ..Meta::default()
        },
        peers,
        world: World {
            clock: site.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
            disk: SimDisk::new(seed).boot(),
        },
    }
}

/// What a life is set up from.
struct Setup {
    scribe: Scribe,
    names: Vec<NodeId>,
    slot: Slot,
    cluster: u32,
    net: SimNet,
    seed: u64,
    authorities: Authorities,
}

/// Puts a mesh together and begins its work and everything that uses it.
fn bring_up(parts: MeshParts, setup: Setup, machine: &Machine) -> (Mesh, watch::Receiver<SharedView>) {
    let Setup { scribe, names, slot, cluster, net, seed, authorities } = setup;
    let (shared, who, clock) = (scribe.shared.clone(), scribe.who.clone(), Arc::clone(&scribe.clock));
    export(&parts.exports, &scribe);
    let certifiers: Vec<NodeId> = names.iter().take(CERTIFIERS).cloned().collect();
    if certifiers.contains(&who.node) {
        let certifier = Certifier {
            net: net.clone(),
            slot,
            cluster,
            clock: Arc::clone(&clock),
            authorities,
            shared: shared.clone(),
        };
        parts.exports.serve::<Certifying>(CERTIFIER, Arc::new(certifier));
    }
    let (mesh, task) = Mesh::new(parts);
    let view = mesh.view();
    let desk = Desk { who, slot, cluster, mesh: mesh.clone(), peers: names.into(), clock, net, shared };
    let gone = desk.clone();
    machine.begin(async move {
        let error = task.run_with(gossip::drive).await;
        gone.shared.trace.note(format!("the mesh of {} cannot go on: {error}", gone.who.node));
    });
    let mut rng = Rng::seed_from_u64(seed ^ 0x776f_726b);
    let mut fork = || Rng::seed_from_u64(rng.random());
    for _ in 0..CALLERS {
        machine.begin(call_for_ever(desk.clone(), fork()));
    }
    for _ in 0..WATCHERS {
        machine.begin(watch_for_ever(desk.clone(), fork()));
    }
    machine.begin(come_and_go(desk.clone(), fork()));
    machine.begin(tell_for_ever(desk.clone(), fork()));
    machine.begin(renew_for_ever(desk, certifiers, fork()));
    (mesh, view)
}

/// Changes what the node tells about itself now and then.
async fn tell_for_ever(desk: Desk, mut rng: Rng) {
    while !desk.shared.is_quiet() {
        tokio::time::sleep(Duration::from_millis(rng.random_range(1_000..15_000))).await;
        let load = rng.random_range(0..64_000);
        desk.mesh.tell(|meta| meta.load_millicores = load);
    }
}
