//! What is taken back, or was put off.

use std::time::Duration;

use rand::Rng as _;

use super::{Later, Storm};
use crate::sim::mesh::fleet::join::Request;
use crate::sim::mesh::fleet::{Fleet, address};
use crate::sim::mesh::history::Trouble;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::net::weather::Weather;

/// How long a stranger waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(700);
/// How often an intruder tries.
const INTRUSIONS: u32 = 6;

impl Storm {
    pub(super) fn undo(&mut self, fleet: &mut Fleet, later: Later) -> Result<(), String> {
        let at = fleet.hand.at();
        match later {
            Later::Calm => self.calm(fleet),
            Later::Open(paths) => open(fleet, &paths),
            Later::Start { slot, moves } => return self.start(fleet, slot, moves),
            Later::Continue(slot) => {
                fleet.net.freeze(slot, false);
                if let Some(site) = fleet.sites.get_mut(slot).filter(|site| site.frozen) {
                    site.frozen = false;
                    fleet.shared.trace.note(format!("{} goes on", site.name));
                }
                over(fleet, slot, Trouble::Stopped);
            }
            Later::Feed(slot) => {
                if let Some(site) = fleet.sites.get_mut(slot) {
                    site.starved = None;
                }
                over(fleet, slot, Trouble::Starved);
            }
            Later::SetClock(slot) => {
                if let Some(site) = fleet.sites.get(slot) {
                    site.clock.set_offset(0);
                }
                over(fleet, slot, Trouble::WrongClock);
            }
            Later::Kill(slot) => fleet.kill(slot),
            Later::Tell { slot, revoked } => self.tell(fleet, slot, revoked),
            Later::Join { slot, request, tries } => {
                let wanted = if slot == self.intruder { self.intrusion(fleet, tries) } else { request };
                let fresh = slot != self.intruder && tries % 8 == 0;
                let cluster = fleet.sites.get(slot).map_or(0, |site| site.cluster);
                let request = if fresh { Request { token: fleet.make_token(cluster)?, ..wanted } } else { wanted };
                let done = fleet.try_join(slot, request)?;
                if !done && (slot != self.intruder || tries < INTRUSIONS) {
                    self.later(at + ASK_AGAIN, Later::Join { slot, request, tries: tries + 1 });
                }
            }
        }
        Ok(())
    }

    fn calm(&mut self, fleet: &Fleet) {
        let at = fleet.hand.at();
        let slowest = self.rng.random_range(1..10);
        fleet.net.sky(|sky| {
            sky.paths.clear();
            sky.usual =
                Weather { latency: (Duration::from_micros(200), Duration::from_millis(slowest)), ..Weather::CALM };
        });
        fleet.shared.trace.note("the weather is calm");
        let mut history = fleet.shared.history.lock();
        history.harsh.iter_mut().filter(|span| span.to.is_none()).for_each(|span| span.to = Some(at));
    }

    fn start(&mut self, fleet: &mut Fleet, slot: Slot, moves: bool) -> Result<(), String> {
        // Where all had new addresses at once, nobody could find anybody.
        if moves && fleet.can_find_another(slot) {
            self.moves += 1;
            if let Some(site) = fleet.sites.get_mut(slot).filter(|site| !site.is_up()) {
                site.at = address(slot, self.moves);
            }
        }
        if fleet.sites.get(slot).is_some_and(|site| !site.is_up()) {
            for trouble in [Trouble::Stopped, Trouble::Starved] {
                over(fleet, slot, trouble);
            }
        }
        fleet.boot(slot)?;
        fleet.refuse_revoked(slot);
        Ok(())
    }

    fn tell(&mut self, fleet: &mut Fleet, slot: Slot, revoked: Slot) {
        let Some(name) = fleet.sites.get(revoked).map(|site| site.name.clone()) else { return };
        let Some(site) = fleet.sites.get_mut(slot) else { return };
        if site.frozen && !self.over {
            let again = fleet.hand.at() + Duration::from_millis(500);
            return self.later(again, Later::Tell { slot, revoked });
        }
        if let Some(papers) = &site.papers {
            papers.revoke(&name, site.clock.shows(fleet.hand.at()));
        }
        if site.is_up() {
            fleet.shared.trace.note(format!("{} is told to refuse {name}", site.name));
            fleet.refuse_revoked(slot);
        }
    }

    /// What an intruder shows: a token that is used up, or one whose secret it does not know.
    fn intrusion(&mut self, fleet: &Fleet, tries: u32) -> Request {
        let newest = fleet.tokens.newest();
        let token = self.rng.random_range(1..=newest.max(1));
        Request { token, genuine: tries.is_multiple_of(2), key: 1_000 + u64::from(tries) }
    }
}

fn open(fleet: &Fleet, paths: &[(Slot, Slot)]) {
    let at = fleet.hand.at();
    fleet.net.sky(|sky| {
        paths.iter().for_each(|path| {
            sky.cuts.remove(path);
        })
    });
    fleet.shared.trace.note(format!("open again: {paths:?}"));
    let mut history = fleet.shared.history.lock();
    let closed = history.cuts.iter_mut().filter(|(path, span)| span.to.is_none() && paths.contains(path));
    closed.for_each(|(_, span)| span.to = Some(at));
}

/// A trouble of a machine is over.
fn over(fleet: &Fleet, slot: Slot, which: Trouble) {
    let at = fleet.hand.at();
    let mut history = fleet.shared.history.lock();
    let open =
        history.troubles.iter_mut().filter(|(of, trouble, span)| *of == slot && *trouble == which && span.to.is_none());
    open.for_each(|(_, _, span)| span.to = Some(at));
}
