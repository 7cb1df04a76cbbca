//! What goes wrong, from the seed: processes, power, disks, network, clocks, and who votes.
//!
//! `act` carries one fault out; `disks` those of disks; `snare` lays out several so that they meet; `undo` takes it back
//! when its time has come, or all of them at once: healing.
//!
//! What raft does not promise is not asked of it: at most one disk at a time is lost, lies or is damaged, only while the
//! cluster has all the members that it should have, and a voter whose disk forgot comes back as a new replica.

mod act;
mod disks;
mod snare;
mod undo;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use self::snare::Snare;
use super::fleet::Fleet;
use super::run::Options;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::net::weather::Sky;
use crate::sim::mesh::time::At;
use crate::store::Error;
use crate::world::entropy::Rng;

/// How dense storms are.
const PACES: [u32; 3] = [1, 2, 4];

/// What will be taken back, or done later.
#[derive(Debug, Clone)]
enum Later {
    /// The weather is calm again.
    Calm,
    /// These paths are open again.
    Open(Vec<(Slot, Slot)>),
    /// The process starts again.
    Start(Slot),
    /// A stopped process goes on.
    Continue(Slot),
    /// A starved process runs as it should.
    Feed(Slot),
    /// A clock is right again.
    SetClock(Slot),
    /// A node does not leave after all.
    Stay(Slot),
    /// A disk is sound from now on.
    Mend(Slot),
    /// A disk that lies loses its power.
    Expose(Slot),
    /// A replica that cannot go on is replaced by one with an empty disk.
    Replace(Slot),
    /// A snare closes.
    Close,
}

/// The faults of a run.
pub struct Storm {
    rng: Rng,
    nodes: usize,
    next: At,
    pace: u32,
    sequence: u64,
    later: BTreeMap<(At, u64), Later>,
    /// The machine whose disk is lost, lies or is damaged now.
    marked: Option<Slot>,
    /// Faults that wait for each other, and when the next are laid out.
    snare: Option<Snare>,
    next_snare: At,
    /// Faults so far.
    pub strikes: u32,
    over: bool,
    /// Whether whole nodes run.
    whole: bool,
}

impl Storm {
    /// A storm over all machines, from `begins` on.
    pub fn new(options: &Options, nodes: usize, begins: At) -> Self {
        let mut rng = Rng::seed_from_u64(options.seed ^ 0x7374_6f72_6d32);
        let pace = *PACES.choose(&mut rng).unwrap_or(&1);
        let later = BTreeMap::new();
        Self {
            rng,
            nodes,
            next: begins,
            pace,
            sequence: 0,
            later,
            marked: None,
            snare: None,
            next_snare: begins,
            strikes: 0,
            over: false,
            whole: options.whole,
        }
    }

    /// What goes wrong and what is mended between two slices of time.
    pub fn act(&mut self, fleet: &mut Fleet) -> Result<(), String> {
        let at = fleet.hand.at();
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= at) {
            let later = first.remove();
            self.undo(fleet, later)?;
        }
        self.watch_snare(fleet);
        if self.marked.is_some_and(|slot| self.is_sound(fleet, slot)) {
            self.marked = None;
        }
        if !self.over && at >= self.next_snare {
            self.lay_snare(fleet);
        }
        if !self.over && at >= self.next && self.snare.is_none() {
            self.next = at + Duration::from_millis(self.rng.random_range(200..4_000)) * self.pace;
            self.strikes += 1;
            self.copy_a_disk(fleet);
            self.strike(fleet);
        }
        Ok(())
    }

    /// A process has ended by itself, as its store said.
    pub fn ended(&mut self, fleet: &mut Fleet, slot: Slot, cause: &Error) {
        fleet.shared.trace.note(format!("n{slot} ends: {cause}"));
        let site = fleet.sites.get(slot);
        let (dead, tampered) = site.map_or((false, false), |site| (site.disk.is_dead(), site.tampered || site.lied));
        let excused = dead || tampered || site.is_none_or(|site| site.failing);
        if dead {
            self.lose_power(fleet, slot);
        } else {
            fleet.kill(slot);
        }
        let at = fleet.hand.at();
        if let Some(site) = fleet.sites.get_mut(slot) {
            site.tampered = tampered;
        }
        match cause {
            Error::Damaged(what) if tampered => {
                fleet.shared.trace.note(format!("n{slot} found damage: {what}"));
                let when = at + self.some(500, 8_000);
                self.later(when, Later::Replace(slot));
            }
            Error::Damaged(what) | Error::Foreign(what) => {
                fleet.shared.history.lock().refusals.push(format!("n{slot}: {what}"));
            }
            _ => {
                if !excused {
                    fleet.shared.history.lock().deaths.push(format!("n{slot}: {cause}"));
                }
                let when = at + self.some(100, 4_000);
                self.later(when, Later::Start(slot));
            }
        }
    }

    /// Everything is mended now.
    pub fn heal(&mut self, fleet: &mut Fleet) -> Result<(), String> {
        self.over = true;
        self.release(fleet);
        for later in std::mem::take(&mut self.later).into_values() {
            self.undo(fleet, later)?;
        }
        fleet.net.sky(Sky::heal);
        for slot in 0..self.nodes {
            self.undo(fleet, Later::Mend(slot))?;
        }
        let at = fleet.hand.at();
        fleet.shared.history.lock().end.healed = at;
        fleet.shared.trace.note("everything heals");
        Ok(())
    }

    /// Whether nothing is wrong any more with the disk of a machine, and its replica is what it should be.
    fn is_sound(&self, fleet: &Fleet, slot: Slot) -> bool {
        let sound = |site: &super::site::Site| !site.lied && !site.tampered && site.faults.sync_lies <= 0.0;
        fleet.sites.get(slot).is_some_and(sound) && fleet.is_whole()
    }

    /// Now and then somebody copies a disk.
    fn copy_a_disk(&mut self, fleet: &mut Fleet) {
        let slot = self.rng.random_range(0..self.nodes);
        let due = self.rng.random_bool(0.5) && fleet.votes(slot) == Some(false) && !fleet.is_marked(slot);
        if let Some(site) = fleet.sites.get_mut(slot).filter(|_| due) {
            site.copy = Some(site.disk.copy());
        }
    }

    fn later(&mut self, at: At, later: Later) {
        self.sequence += 1;
        self.later.insert((at, self.sequence), later);
    }

    fn some(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least_ms..=most_ms))
    }
}
