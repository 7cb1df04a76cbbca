//! Faults of disks: slow, failing, full, lying, damaged, replaced by an old copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng as _;

use super::{Later, Storm};
use crate::sim::cluster::fleet::Fleet;
use crate::sim::cluster::site::{Site, usual};
use crate::sim::mesh::net::Slot;
use crate::world::disk::sim::Faults;

/// Where a replica's files are that may be damaged.
const DIRS: [&str; 2] = ["/data/store/log", "/data/store/state"];

impl Storm {
    /// A disk is slow, fails syncs, or is full, for a while. Nothing is lost by that.
    pub(super) fn spoil(&mut self, fleet: &mut Fleet, victim: Slot) {
        let Some(site) = fleet.sites.get_mut(victim).filter(|site| site.faults == usual()) else { return };
        let slowest = Duration::from_millis(self.rng.random_range(5..400));
        let slow = Faults {
            sync_takes: (Duration::from_millis(1), slowest),
            queue_takes: (Duration::ZERO, slowest),
            ..usual()
        };
        let faults = match self.rng.random_range(0..3) {
            0 => slow,
            1 => Faults { sync_fails: 0.01, ..slow },
            _ => Faults { capacity: site.disk.used() + self.rng.random_range(0..40_000), ..usual() },
        };
        fleet.shared.trace.note(format!("the disk of n{victim}: {faults:?}"));
        site.set_faults(faults);
        let until = fleet.hand.at() + self.some(1_000, 12_000);
        self.later(until, Later::Mend(victim));
    }

    /// One disk lies, is damaged, or is replaced by an old copy: only one at a time, in a cluster that is whole.
    pub(super) fn mark(&mut self, fleet: &mut Fleet, victim: Slot) {
        let up = fleet.sites.get(victim).is_some_and(Site::is_up);
        let Some(votes) =
            fleet.votes(victim).filter(|_| up && self.marked.is_none() && self.snare.is_none() && fleet.is_whole())
        else {
            return;
        };
        self.marked = Some(victim);
        match self.rng.random_range(0..3) {
            0 => self.lie(fleet, victim),
            1 if !votes => self.rewind(fleet, victim),
            _ => self.damage(fleet, victim),
        }
    }

    fn lie(&mut self, fleet: &mut Fleet, victim: Slot) {
        let Some(site) = fleet.sites.get_mut(victim) else { return };
        site.set_faults(Faults { sync_lies: self.rng.random_range(0.1..1.0), ..usual() });
        fleet.shared.trace.note(format!("the disk of n{victim} lies"));
        let until = fleet.hand.at() + self.some(500, 10_000);
        self.later(until, Later::Expose(victim));
    }

    /// The power goes, and whoever comes back finds a byte changed in what was durable. What is flipped lies in the first
    /// half of what a file holds: the last unit of a log cannot be told from one that was torn.
    fn damage(&mut self, fleet: &mut Fleet, victim: Slot) {
        fleet.lose_power(victim);
        let Some(site) = fleet.sites.get_mut(victim) else { return };
        site.tampered = true;
        let disk = site.disk.boot();
        let files: Vec<PathBuf> = DIRS.iter().filter_map(|dir| disk.list(Path::new(dir)).ok()).flatten().collect();
        let Some(file) = files.get(self.rng.random_range(0..files.len().max(1))) else { return };
        let used = site.disk.written(file);
        let at = self.rng.random_range(0..(used / 2).max(1));
        site.disk.flip(file, at);
        fleet.shared.trace.note(format!("byte {at} of {used} of {} of n{victim} is damaged", file.display()));
        let until = fleet.hand.at() + self.some(50, 4_000);
        self.later(until, Later::Start(victim));
        self.later(until + Duration::from_secs(12), Later::Replace(victim));
    }

    /// The disk of a learner is as it was a while ago.
    fn rewind(&mut self, fleet: &mut Fleet, victim: Slot) {
        let Some(copy) = fleet.sites.get(victim).and_then(|site| site.copy.clone()) else { return };
        fleet.kill(victim);
        let Some(site) = fleet.sites.get_mut(victim) else { return };
        site.tampered = true;
        site.disk.restore(&copy);
        fleet.shared.trace.note(format!("n{victim} gets an old copy of its disk"));
        let until = fleet.hand.at() + self.some(50, 4_000);
        self.later(until, Later::Start(victim));
        self.later(until + Duration::from_secs(12), Later::Replace(victim));
    }

    /// The power of a machine goes. A voter whose disk lied forgot what it acknowledged: its disk is thrown away.
    pub(super) fn lose_power(&mut self, fleet: &mut Fleet, victim: Slot) {
        fleet.lose_power(victim);
        if fleet.sites.get(victim).is_some_and(|site| site.lied) {
            self.replace(fleet, victim);
        }
    }

    /// A new replica under a new number, on an empty disk.
    pub(super) fn replace(&mut self, fleet: &mut Fleet, slot: Slot) {
        fleet.kill(slot);
        let (raft_id, seed) = (fleet.next_replica(), self.rng.random());
        if let Some(site) = fleet.sites.get_mut(slot) {
            site.replace_disk(seed);
        }
        if let Some(wanted) = fleet.shared.wanted.lock().get_mut(&slot) {
            wanted.raft_id = raft_id;
        }
        fleet.shared.trace.note(format!("n{slot} will be replica {raft_id}, on an empty disk"));
    }
}
