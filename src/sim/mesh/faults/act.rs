//! One fault after another.

use std::time::Duration;

use rand::Rng as _;

use super::{CLOCK_BOUND, FAIR_LOSS, Later, Storm};
use crate::sim::mesh::fleet::{CERTIFIERS, Fleet};
use crate::sim::mesh::history::{Span, Trouble};
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::net::weather::Weather;

impl Storm {
    /// Something goes wrong.
    pub(super) fn strike(&mut self, fleet: &mut Fleet) {
        let victim = self.rng.random_range(0..self.nodes);
        let other = (victim + self.rng.random_range(1..self.nodes.max(2))) % self.nodes;
        self.strikes += 1;
        let last = self.nodes.saturating_sub(1);
        match self.rng.random_range(0..100) {
            // Every run has these two, where the cluster is large enough.
            _ if self.strikes == 3 && last >= CERTIFIERS => {
                // So far ahead that every certificate is over.
                let ahead = self.rng.random_range(150..300) * 1_000_000;
                self.set_clock_wrong(fleet, last, ahead);
            }
            _ if self.strikes >= 5 && self.revoked.is_none() && last > CERTIFIERS => self.revoke(fleet, last),
            0..18 => self.weather(fleet),
            18..28 => self.cut(fleet, &[(victim, other)], 20_000, "one way"),
            28..38 => self.cut(fleet, &[(victim, other), (other, victim)], 20_000, "both ways"),
            38..44 => self.isolate(fleet, victim),
            44..50 => self.split(fleet),
            50..64 => self.crash(fleet, victim),
            64..80 => self.stop(fleet, victim),
            80..86 => self.starve(fleet, victim),
            86..92 => self.set_clock(fleet, victim),
            92..97 => self.leave(fleet, victim),
            _ => self.revoke(fleet, victim),
        }
    }

    fn weather(&mut self, fleet: &mut Fleet) {
        let at = fleet.hand.at();
        let slowest = self.rng.random_range(1..60);
        let loss = self.rng.random_range(0.0..0.25);
        let weather = Weather {
            latency: (Duration::from_micros(200), Duration::from_millis(slowest)),
            loss,
            duplicate: self.rng.random_range(0.0..0.05),
            reorder: self.rng.random_range(0.0..0.2),
            spike: (self.rng.random_range(0.0..0.02), self.some(50, 800)),
        };
        fleet.shared.trace.note(format!("weather: {weather:?}"));
        let alone = self.rng.random_bool(0.3).then(|| {
            let from = self.rng.random_range(0..self.nodes);
            (from, (from + 1) % self.nodes)
        });
        fleet.net.sky(|sky| match alone {
            Some(path) => {
                sky.paths.insert(path, weather);
            }
            None => sky.usual = weather,
        });
        if loss > FAIR_LOSS {
            fleet.shared.history.lock().harsh.push(Span::open(at));
        }
        let until = at + self.some(2_000, 30_000);
        self.later(until, Later::Calm);
    }

    fn cut(&mut self, fleet: &mut Fleet, paths: &[(Slot, Slot)], most_ms: u64, how: &str) {
        let at = fleet.hand.at();
        let fresh: Vec<(Slot, Slot)> = fleet.net.sky(|sky| {
            paths.iter().copied().filter(|(from, to)| from != to && sky.cuts.insert((*from, *to))).collect()
        });
        fleet.shared.trace.note(format!("cut {how}: {fresh:?}"));
        fleet.shared.history.lock().cuts.extend(fresh.iter().map(|path| (*path, Span::open(at))));
        let until = at + self.some(200, most_ms);
        self.later(until, Later::Open(fresh));
    }

    fn isolate(&mut self, fleet: &mut Fleet, victim: Slot) {
        let paths: Vec<(Slot, Slot)> = (0..self.nodes).flat_map(|other| [(victim, other), (other, victim)]).collect();
        self.cut(fleet, &paths, 25_000, "isolates one");
    }

    fn split(&mut self, fleet: &mut Fleet) {
        let sides: Vec<bool> = (0..self.nodes).map(|_| self.rng.random_bool(0.5)).collect();
        let side = |slot: Slot| sides.get(slot).copied().unwrap_or(false);
        let all = (0..self.nodes).flat_map(|from| (0..self.nodes).map(move |to| (from, to)));
        let paths: Vec<(Slot, Slot)> = all.filter(|(from, to)| side(*from) != side(*to)).collect();
        self.cut(fleet, &paths, 25_000, "in two");
    }

    fn crash(&mut self, fleet: &mut Fleet, victim: Slot) {
        if !fleet.sites.get(victim).is_some_and(crate::sim::mesh::fleet::Site::is_up) {
            return;
        }
        fleet.crash(victim);
        let moves = self.rng.random_bool(0.3);
        let until = fleet.hand.at() + self.some(50, 20_000);
        self.later(until, Later::Start { slot: victim, moves });
    }

    fn stop(&mut self, fleet: &mut Fleet, victim: Slot) {
        let at = fleet.hand.at();
        let Some(site) = fleet.sites.get_mut(victim).filter(|site| site.is_up() && !site.frozen) else { return };
        site.frozen = true;
        fleet.net.freeze(victim, true);
        fleet.shared.trace.note(format!("{} is stopped", site.name));
        fleet.shared.history.lock().troubles.push((victim, Trouble::Stopped, Span::open(at)));
        let until = at + self.some(100, 15_000);
        self.later(until, Later::Continue(victim));
    }

    fn starve(&mut self, fleet: &mut Fleet, victim: Slot) {
        let at = fleet.hand.at();
        let Some(site) = fleet.sites.get_mut(victim).filter(|site| site.is_up() && site.starved.is_none()) else {
            return;
        };
        site.starved = Some(self.rng.random_range(10..150));
        fleet.shared.trace.note(format!("{} starves", site.name));
        fleet.shared.history.lock().troubles.push((victim, Trouble::Starved, Span::open(at)));
        let until = at + self.some(1_000, 10_000);
        self.later(until, Later::Feed(victim));
    }

    /// Mostly within the bound; beyond it only for a node that signs nothing, so that only it may suffer.
    fn set_clock(&mut self, fleet: &mut Fleet, victim: Slot) {
        if victim >= CERTIFIERS && self.rng.random_bool(0.7) {
            let offset_us = self.rng.random_range(-300..300) * 1_000_000;
            return self.set_clock_wrong(fleet, victim, offset_us);
        }
        let bound = i64::try_from(CLOCK_BOUND.as_micros()).unwrap_or(0);
        set_clock_off(fleet, victim, self.rng.random_range(-bound..=bound));
    }

    /// For a while, and the process starts anew with it: it must find its peers again while everything looks too old
    /// or too young to it.
    fn set_clock_wrong(&mut self, fleet: &mut Fleet, victim: Slot, offset_us: i64) {
        let at = fleet.hand.at();
        fleet.shared.history.lock().troubles.push((victim, Trouble::WrongClock, Span::open(at)));
        let until = at + self.some(5_000, 30_000);
        self.later(until, Later::SetClock(victim));
        set_clock_off(fleet, victim, offset_us);
        if fleet.sites.get(victim).is_some_and(crate::sim::mesh::fleet::Site::is_up) {
            fleet.crash(victim);
            self.later(at + Duration::from_millis(300), Later::Start { slot: victim, moves: false });
        }
    }

    fn leave(&mut self, fleet: &mut Fleet, victim: Slot) {
        let frozen = |site: &crate::sim::mesh::fleet::Site| site.frozen || !site.is_up();
        if victim == 0 || fleet.sites.get(victim).is_none_or(frozen) {
            return;
        }
        let at = fleet.hand.at();
        fleet.leave(victim);
        self.later(at + Duration::from_millis(1_500), Later::Kill(victim));
        let back = at + self.some(2_000, 20_000);
        self.later(back, Later::Start { slot: victim, moves: false });
    }

    /// At most one node a run, of a cluster that stays large enough; never one with the authority's key.
    fn revoke(&mut self, fleet: &mut Fleet, victim: Slot) {
        let up = fleet.sites.get(victim).is_some_and(crate::sim::mesh::fleet::Site::is_up);
        if self.revoked.is_some() || self.nodes < 5 || victim < CERTIFIERS || !up {
            return;
        }
        self.revoked = Some(victim);
        let at = fleet.hand.at();
        if let Some(site) = fleet.sites.get(victim) {
            fleet.shared.trace.note(format!("{} is revoked", site.name));
            fleet.shared.history.lock().revoked.insert(site.name.clone(), at);
        }
        for slot in (0..self.nodes).filter(|slot| *slot != victim) {
            let told = at + self.some(50, 1_000);
            self.later(told, Later::Tell { slot, revoked: victim });
        }
    }
}

fn set_clock_off(fleet: &Fleet, victim: Slot, offset_us: i64) {
    let Some(site) = fleet.sites.get(victim) else { return };
    site.clock.set_offset(offset_us);
    fleet.shared.trace.note(format!("the clock of {} is set off by {offset_us} us", site.name));
}
