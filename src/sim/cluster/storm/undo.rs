//! What is taken back, or was put off.

use std::time::Duration;

use rand::Rng as _;

use super::{Later, Storm};
use crate::sim::cluster::fleet::Fleet;
use crate::sim::cluster::site::{Site, usual};
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::net::weather::Weather;

impl Storm {
    pub(super) fn undo(&mut self, fleet: &mut Fleet, later: Later) -> Result<(), String> {
        match later {
            Later::Calm => self.calm(fleet),
            Later::Open(paths) => open(fleet, &paths),
            Later::Start(slot) => return fleet.boot(slot),
            Later::Continue(slot) => {
                fleet.net.freeze(slot, false);
                if let Some(site) = fleet.sites.get_mut(slot).filter(|site| site.frozen) {
                    site.frozen = false;
                    fleet.shared.trace.note(format!("n{slot} goes on"));
                }
            }
            Later::Feed(slot) => {
                if let Some(site) = fleet.sites.get_mut(slot) {
                    site.starved = None;
                }
            }
            Later::SetClock(slot) => {
                if let Some(site) = fleet.sites.get(slot) {
                    site.clock.set_offset(0);
                }
            }
            Later::Stay(slot) => {
                if let Some(one) = fleet.shared.wanted.lock().get_mut(&slot) {
                    one.leaving = false;
                }
            }
            Later::Mend(slot) => self.mend(fleet, slot),
            Later::Close => self.close(fleet),
            Later::Expose(slot) => {
                if fleet.sites.get(slot).is_some_and(|site| site.lied && site.is_up()) {
                    self.lose_power(fleet, slot);
                    let until = fleet.hand.at() + self.some(50, 4_000);
                    self.later(until, Later::Start(slot));
                    return if self.over { fleet.boot(slot) } else { Ok(()) };
                }
            }
            Later::Replace(slot) => {
                if fleet.sites.get(slot).is_some_and(|site| site.tampered) {
                    self.replace(fleet, slot);
                    return fleet.boot(slot);
                }
            }
        }
        Ok(())
    }

    fn calm(&mut self, fleet: &Fleet) {
        let slowest = self.rng.random_range(1..10);
        fleet.net.sky(|sky| {
            sky.paths.clear();
            sky.usual =
                Weather { latency: (Duration::from_micros(200), Duration::from_millis(slowest)), ..Weather::CALM };
        });
        fleet.shared.trace.note("the weather is calm");
    }

    /// The disk is sound from now on. One that lied still lacks what it lost; only its end shows that.
    pub(super) fn mend(&mut self, fleet: &mut Fleet, slot: Slot) {
        if let Some(site) = fleet.sites.get_mut(slot).filter(|site| site.faults != usual()) {
            let lies = site.faults.sync_lies > 0.0;
            if !lies || self.over {
                site.set_faults(usual());
                fleet.shared.trace.note(format!("the disk of n{slot} is sound"));
            }
        }
        if self.over && !fleet.sites.get(slot).is_some_and(Site::is_up) {
            let soon = fleet.hand.at() + Duration::from_millis(10);
            self.later(soon, Later::Start(slot));
        }
    }
}

pub(super) fn open(fleet: &Fleet, paths: &[(Slot, Slot)]) {
    fleet.net.sky(|sky| {
        paths.iter().for_each(|path| {
            sky.cuts.remove(path);
        });
    });
    fleet.shared.trace.note(format!("open again: {paths:?}"));
}
