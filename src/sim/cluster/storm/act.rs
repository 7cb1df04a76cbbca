//! One fault after another.

use std::time::Duration;

use rand::Rng as _;

use super::{Later, Storm};
use crate::sim::cluster::fleet::Fleet;
use crate::sim::cluster::site::Site;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::net::weather::Weather;

impl Storm {
    /// Something goes wrong.
    pub(super) fn strike(&mut self, fleet: &mut Fleet) {
        let leading = (0..self.nodes).find(|slot| leads(fleet, *slot));
        // Leaders are where faults hurt most.
        let victim = match leading {
            Some(leader) if self.rng.random_bool(0.35) => leader,
            _ => self.rng.random_range(0..self.nodes),
        };
        let other = (victim + self.rng.random_range(1..self.nodes.max(2))) % self.nodes;
        match self.rng.random_range(0..100) {
            // A node whose process stands still, or whose clock is wrong, cannot keep its pods from running twice: what
            // is asked of it holds for one that is cut off. See `docs/CLUSTER.md`.
            63..78 if self.whole => self.isolate(fleet, victim),
            0..8 => self.weather(fleet),
            8..14 => self.cut(fleet, &[(victim, other)], "one way"),
            14..20 => self.cut(fleet, &[(victim, other), (other, victim)], "both ways"),
            20..29 => self.isolate(fleet, victim),
            29..35 => self.split(fleet),
            35..41 => self.crash(fleet, victim, false),
            41..53 => self.crash(fleet, victim, true),
            53..57 => self.crash_many(fleet),
            57..63 => self.burn(fleet, victim),
            63..71 => self.stop(fleet, victim),
            71..74 => self.starve(fleet, victim),
            74..78 => self.set_clock(fleet, victim),
            78..84 => self.spoil(fleet, victim),
            84..90 => self.mark(fleet, victim),
            90..94 => self.leave(fleet, victim),
            _ => self.hand_over(fleet),
        }
    }

    fn weather(&mut self, fleet: &mut Fleet) {
        let slowest = self.rng.random_range(1..80);
        let weather = Weather {
            latency: (Duration::from_micros(200), Duration::from_millis(slowest)),
            loss: self.rng.random_range(0.0..0.3),
            duplicate: self.rng.random_range(0.0..0.05),
            reorder: self.rng.random_range(0.0..0.2),
            spike: (self.rng.random_range(0.0..0.02), self.some(50, 900)),
        };
        fleet.shared.trace.note(format!("weather: {weather:?}"));
        fleet.net.sky(|sky| sky.usual = weather);
        let until = fleet.hand.at() + self.some(2_000, 15_000);
        self.later(until, Later::Calm);
    }

    fn cut(&mut self, fleet: &mut Fleet, paths: &[(Slot, Slot)], how: &str) {
        let fresh: Vec<(Slot, Slot)> = fleet.net.sky(|sky| {
            paths.iter().copied().filter(|(from, to)| from != to && sky.cuts.insert((*from, *to))).collect()
        });
        fleet.shared.trace.note(format!("cut {how}: {fresh:?}"));
        let longest = if self.whole { 30_000 } else { 12_000 };
        let until = fleet.hand.at() + self.some(200, longest);
        self.later(until, Later::Open(fresh));
    }

    fn isolate(&mut self, fleet: &mut Fleet, victim: Slot) {
        let paths: Vec<(Slot, Slot)> = (0..self.nodes).flat_map(|other| [(victim, other), (other, victim)]).collect();
        self.cut(fleet, &paths, "isolates one");
    }

    /// In two, or so that one sees both sides which do not see each other.
    fn split(&mut self, fleet: &mut Fleet) {
        let bridge = self.rng.random_bool(0.4).then(|| self.rng.random_range(0..self.nodes));
        let sides: Vec<bool> = (0..self.nodes).map(|_| self.rng.random_bool(0.5)).collect();
        let side = |slot: Slot| sides.get(slot).copied().unwrap_or(false);
        let all = (0..self.nodes).flat_map(|from| (0..self.nodes).map(move |to| (from, to)));
        let spared = |slot: Slot| bridge == Some(slot);
        let apart = |(from, to): &(Slot, Slot)| side(*from) != side(*to) && !spared(*from) && !spared(*to);
        let paths: Vec<(Slot, Slot)> = all.filter(apart).collect();
        self.cut(fleet, &paths, if bridge.is_some() { "but for a bridge" } else { "in two" });
    }

    fn crash(&mut self, fleet: &mut Fleet, victim: Slot, power: bool) {
        if !fleet.sites.get(victim).is_some_and(Site::is_up) {
            return;
        }
        if power {
            self.lose_power(fleet, victim);
        } else {
            fleet.kill(victim);
        }
        let until = fleet.hand.at() + self.some(50, 12_000);
        self.later(until, Later::Start(victim));
    }

    /// Several at once, perhaps all of them.
    fn crash_many(&mut self, fleet: &mut Fleet) {
        let power = self.rng.random_bool(0.7);
        let share = if self.rng.random_bool(0.3) { 1.0 } else { 0.5 };
        for slot in 0..self.nodes {
            if self.rng.random_bool(share) {
                self.crash(fleet, slot, power);
            }
        }
    }

    /// The power goes in the middle of a write, soon.
    fn burn(&mut self, fleet: &mut Fleet, victim: Slot) {
        let changes = self.rng.random_range(0..60);
        if let Some(site) = fleet.sites.get(victim).filter(|site| site.is_up() && !site.lied) {
            site.disk.lose_power_after(changes);
            fleet.shared.trace.note(format!("n{victim} will lose its power after {changes} changes of its disk"));
        }
    }

    fn stop(&mut self, fleet: &mut Fleet, victim: Slot) {
        let Some(site) = fleet.sites.get_mut(victim).filter(|site| site.is_up() && !site.frozen) else { return };
        site.frozen = true;
        fleet.net.freeze(victim, true);
        fleet.shared.trace.note(format!("n{victim} is stopped"));
        let until = fleet.hand.at() + self.some(100, 8_000);
        self.later(until, Later::Continue(victim));
    }

    fn starve(&mut self, fleet: &mut Fleet, victim: Slot) {
        let one_in = self.rng.random_range(5..60);
        let Some(site) = fleet.sites.get_mut(victim).filter(|site| site.is_up() && site.starved.is_none()) else {
            return;
        };
        site.starved = Some(one_in);
        fleet.shared.trace.note(format!("n{victim} starves"));
        let until = fleet.hand.at() + self.some(1_000, 6_000);
        self.later(until, Later::Feed(victim));
    }

    fn set_clock(&mut self, fleet: &Fleet, victim: Slot) {
        let offset_us = self.rng.random_range(-30..30) * 1_000_000;
        let Some(site) = fleet.sites.get(victim) else { return };
        site.clock.set_offset(offset_us);
        fleet.shared.trace.note(format!("the clock of n{victim} is set off by {offset_us} us"));
        let until = fleet.hand.at() + self.some(2_000, 20_000);
        self.later(until, Later::SetClock(victim));
    }

    /// A voter is about to leave for a while, where another can vote instead.
    fn leave(&mut self, fleet: &Fleet, victim: Slot) {
        let leaves = self.marked.is_none() && self.nodes > 3 && fleet.is_whole();
        let mut wanted = fleet.shared.wanted.lock();
        let others = wanted.values().any(|one| one.leaving);
        if let Some(one) = wanted.get_mut(&victim).filter(|_| leaves && !others) {
            one.leaving = true;
            fleet.shared.trace.note(format!("n{victim} is about to leave"));
            let until = fleet.hand.at() + self.some(1_000, 10_000);
            self.later(until, Later::Stay(victim));
        }
    }

    fn hand_over(&mut self, fleet: &Fleet) {
        let heirs: Vec<u64> = fleet.shared.wanted.lock().values().map(|one| one.raft_id).collect();
        *fleet.shared.successor.lock() = heirs.get(self.rng.random_range(0..heirs.len().max(1))).copied();
    }
}

pub(super) fn leads(fleet: &Fleet, slot: Slot) -> bool {
    fleet.sites.get(slot).and_then(|site| site.process.as_ref()).is_some_and(|process| process.leads)
}
