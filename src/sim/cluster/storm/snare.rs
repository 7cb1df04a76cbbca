//! Faults that are laid out so that they meet, for what only their meeting shows: that something was not durable when it
//! was told. A majority of the voters goes on without the others, one of it on a slow disk; then the power of that one goes,
//! and it must find again, with those who lagged, whatever was told.

use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, seq::IndexedRandom as _};

use super::act::leads;
use super::undo::open;
use super::{Later, Storm};
use crate::sim::cluster::fleet::Fleet;
use crate::sim::cluster::site::{Site, usual};
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::At;
use crate::world::disk::sim::Faults;

/// How long voters may take to elect another leader.
const ELECTS_WITHIN: Duration = Duration::from_secs(6);
/// How often it is asked whether a snare can be laid out.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// How long no other fault comes once a snare has closed.
const PLAYS_OUT: Duration = Duration::from_secs(3);

/// Paths that are cut.
type Paths = Vec<(Slot, Slot)>;

/// Faults that wait for each other.
#[derive(Debug)]
pub(super) enum Snare {
    /// For entries: when it closes, the power of `slow` goes, the processes of `gone` end, and `paths` open.
    Corner { slow: Slot, gone: Vec<Slot>, paths: Paths },
    /// For votes: as soon as `heir` leads instead of `old`, which is cut off, the power of `slow` goes, who voted for it;
    /// `old` is back, and `heir` is cut off.
    Ballot { old: Slot, slow: Slot, heir: Slot, paths: Paths, until: At },
}

impl Storm {
    /// Lays one out, as soon as the cluster is in a state for it; no other fault comes between then.
    pub(super) fn lay_snare(&mut self, fleet: &mut Fleet) {
        let Some((leader, others)) = self.to_be_snared(fleet) else {
            self.next_snare = fleet.hand.at() + TRY_EVERY;
            return;
        };
        if self.rng.random_bool(0.7) {
            self.corner(fleet, leader, others);
        } else {
            self.ballot(fleet, leader, &others);
        }
        self.strikes += 1;
        self.next_snare = fleet.hand.at() + self.some(5_000, 14_000);
    }

    /// The leader and enough others for a majority go on without the rest; soon after one of them forgets what its disk did
    /// not hold, and the others of them are away.
    fn corner(&mut self, fleet: &mut Fleet, leader: Slot, mut others: Vec<Slot>) {
        others.shuffle(&mut self.rng);
        let lagging = others.split_off(others.len() / 2);
        let majority: Vec<Slot> = others.into_iter().chain([leader]).collect();
        let Some(slow) = majority.choose(&mut self.rng).copied() else { return };
        let gone = majority.iter().copied().filter(|slot| *slot != slow).collect();
        let paths = between(&majority, &lagging);
        self.slow_down(fleet, slow);
        self.cut_off(fleet, &paths, "leaves those who lag");
        self.snare = Some(Snare::Corner { slow, gone, paths });
        let when = fleet.hand.at() + self.some(300, 2_500);
        self.later(when, Later::Close);
    }

    /// The leader is cut off, and the disk of one of the two who will elect another is slow.
    fn ballot(&mut self, fleet: &mut Fleet, old: Slot, others: &[Slot]) {
        let [one, two] = others else { return };
        let (slow, heir) = if self.rng.random_bool(0.5) { (*one, *two) } else { (*two, *one) };
        let paths = between(&[old], others);
        self.slow_down(fleet, slow);
        self.cut_off(fleet, &paths, "leaves the leader alone");
        let until = fleet.hand.at() + ELECTS_WITHIN;
        self.snare = Some(Snare::Ballot { old, slow, heir, paths, until });
    }

    /// Whether a snare is to close that does so by itself.
    pub(super) fn watch_snare(&mut self, fleet: &mut Fleet) {
        let at = fleet.hand.at();
        match &self.snare {
            Some(Snare::Ballot { heir, .. }) if leads(fleet, *heir) => self.close(fleet),
            Some(Snare::Ballot { slow, until, .. }) if at >= *until || leads(fleet, *slow) => self.release(fleet),
            _ => {}
        }
    }

    /// It closes.
    pub(super) fn close(&mut self, fleet: &mut Fleet) {
        let at = fleet.hand.at();
        self.next = self.next.max(at + PLAYS_OUT);
        match self.snare.take() {
            Some(Snare::Corner { slow, gone, paths }) => {
                fleet.shared.trace.note(format!("a snare closes: n{slow} forgets, {gone:?} are away"));
                self.forgets(fleet, slow);
                for away in gone.into_iter().filter(|away| up(fleet, *away)).collect::<Vec<_>>() {
                    fleet.kill(away);
                    let until = at + self.some(3_000, 6_000);
                    self.later(until, Later::Start(away));
                }
                open(fleet, &paths);
            }
            Some(Snare::Ballot { old, slow, heir, paths, .. }) => {
                fleet.shared.trace.note(format!("a snare closes: n{slow} forgets that it voted for n{heir}"));
                self.forgets(fleet, slow);
                open(fleet, &paths);
                let paths = between(&[heir], &[old, slow]);
                self.cut_off(fleet, &paths, "leaves the heir alone");
                let until = at + self.some(1_500, 4_000);
                self.later(until, Later::Open(paths));
            }
            None => {}
        }
    }

    /// Nothing comes of it.
    pub(super) fn release(&mut self, fleet: &mut Fleet) {
        let (Some(Snare::Corner { slow, paths, .. }) | Some(Snare::Ballot { slow, paths, .. })) = self.snare.take()
        else {
            return;
        };
        self.mend(fleet, slow);
        open(fleet, &paths);
    }

    /// The leader and the other voters, where all are there and no disk may be lost besides.
    fn to_be_snared(&self, fleet: &Fleet) -> Option<(Slot, Vec<Slot>)> {
        if self.marked.is_some() || self.snare.is_some() {
            return None;
        }
        let voters: Vec<Slot> = (0..self.nodes).filter(|slot| fleet.votes(*slot) == Some(true)).collect();
        let sound = |slot: &Slot| {
            fleet.sites.get(*slot).is_some_and(|site| site.is_up() && !site.frozen && site.faults == usual())
        };
        let (leading, others): (Vec<Slot>, Vec<Slot>) = voters.iter().partition(|slot| leads(fleet, **slot));
        let leader = leading.first().filter(|_| voters.iter().all(sound) && others.len() >= 2)?;
        Some((*leader, others))
    }

    fn slow_down(&mut self, fleet: &mut Fleet, slot: Slot) {
        let least = self.some(100, 400);
        let slow = Faults { queue_takes: (least, least * 2), ..usual() };
        if let Some(site) = fleet.sites.get_mut(slot) {
            site.set_faults(slow);
        }
    }

    fn cut_off(&self, fleet: &Fleet, paths: &Paths, why: &str) {
        fleet.net.sky(|sky| sky.cuts.extend(paths.iter().copied()));
        fleet.shared.trace.note(format!("a snare {why}: {paths:?}"));
    }

    /// The power of a machine goes, for a moment.
    fn forgets(&mut self, fleet: &mut Fleet, slot: Slot) {
        if up(fleet, slot) {
            self.lose_power(fleet, slot);
        }
        self.mend(fleet, slot);
        let until = fleet.hand.at() + self.some(20, 300);
        self.later(until, Later::Start(slot));
    }
}

fn up(fleet: &Fleet, slot: Slot) -> bool {
    fleet.sites.get(slot).is_some_and(Site::is_up)
}

fn between(some: &[Slot], others: &[Slot]) -> Paths {
    some.iter().flat_map(|one| others.iter().flat_map(|other| [(*one, *other), (*other, *one)])).collect()
}
