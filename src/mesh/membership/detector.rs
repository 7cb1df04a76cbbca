//! Who answers: asks one member after the other, again and through others where one is silent, and decides when silence
//! is suspicion and when it is death. Lifeguard's local health slows this node's own judgement down.
//!
//! Pure: gives what is to be done as data.

use std::collections::VecDeque;
use std::time::Duration;

use super::roster::{ME, Record, Roster, Standing};
use super::settings::{MAX_HEALTH, Settings};
use super::swim::{Dice, Id};
use crate::mesh::mutant::mutant;
use crate::model::Timestamp;

/// Most members that are asked at the same time; more wait for their turn.
const MAX_CHECKS: usize = 256;
/// How many of the last asked say whether this node hears anybody.
const SIGHT: usize = 8;
/// How often a slot is drawn to find an active member.
const DRAWS: u32 = 64;
/// From this question on others are asked to ask.
const RELAY_FROM: u32 = 3;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask the member.
    Ping { check: u32, id: Id, incarnation: u16, suspected: bool },
    /// Ask `through` to ask it.
    Relay { check: u32, id: Id, incarnation: u16, suspected: bool, through: u32 },
    /// Tell everybody that it is suspect.
    Suspect { id: Id, incarnation: u16 },
    /// It is dead: tell everybody, or only itself where it is `doubted`.
    Dead { id: Id, incarnation: u16, doubted: bool },
}

struct Check {
    serial: u32,
    id: Id,
    incarnation: u16,
    /// Since when it is silent.
    silent: Timestamp,
    next: Timestamp,
    rounds: u32,
    relays: u32,
    receipts: u32,
    /// The silence has been counted against this node's health or sight.
    counted: bool,
}

/// Lifeguard's local health: how unwell this node finds itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Health(u32);

impl Health {
    /// 0 is well, [`MAX_HEALTH`] worst.
    pub(super) fn score(self) -> u32 {
        self.0
    }

    /// Something speaks against this node.
    pub(super) fn worse(&mut self, by: u32) {
        if !mutant("no-local-health") {
            self.0 = self.0.saturating_add(by).min(MAX_HEALTH);
        }
    }

    fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

/// Goes through all slots once in an order that looks random, without a list.
#[derive(Default)]
struct Walk {
    slots: u32,
    offset: u32,
    stride: u32,
    step: u32,
}

impl Walk {
    fn next(&mut self, slots: u32, dice: &mut Dice) -> u32 {
        if self.step >= self.slots {
            *self = Self { slots, offset: dice.below(slots), stride: 1 + dice.below(slots.saturating_sub(1)), step: 0 };
            while greatest_divisor(self.stride, slots) > 1 {
                self.stride += 1;
            }
        }
        let at = u64::from(self.offset) + u64::from(self.step) * u64::from(self.stride);
        self.step += 1;
        u32::try_from(at % u64::from(self.slots.max(1))).unwrap_or(0)
    }
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

pub(super) struct Detector {
    settings: Settings,
    checks: Vec<Check>,
    next_probe: Timestamp,
    walk: Walk,
    serial: u32,
    /// Of the last asked: who, and whether it was heard.
    sight: VecDeque<(u32, bool)>,
    pub health: Health,
}

impl Detector {
    pub(super) fn new(settings: Settings, now: Timestamp) -> Self {
        let next_probe = now + settings.probe_period;
        let (checks, sight) = (Vec::new(), VecDeque::with_capacity(SIGHT));
        Self { settings, checks, next_probe, walk: Walk::default(), serial: 0, sight, health: Health::default() }
    }

    /// When [`Detector::due`] is to be called.
    pub(super) fn next_due(&self) -> Timestamp {
        self.checks.iter().map(|check| check.next).min().unwrap_or(self.next_probe).min(self.next_probe)
    }

    fn stretched(&self, time: Duration) -> Duration {
        time * (1 + self.health.score())
    }

    /// Does what is due.
    pub(super) fn due(&mut self, now: Timestamp, roster: &Roster, dice: &mut Dice) -> Vec<Act> {
        let mut acts = Vec::new();
        for mut check in std::mem::take(&mut self.checks) {
            if check.next > now || self.go_on(&mut check, now, roster, dice, &mut acts) {
                self.checks.push(check);
            }
        }
        if self.next_probe <= now {
            self.next_probe = now + dice.about(self.stretched(self.settings.probe_period));
            self.probe(now, roster, dice, &mut acts);
        }
        acts
    }

    /// Starts to ask the next member.
    fn probe(&mut self, now: Timestamp, roster: &Roster, dice: &mut Dice, acts: &mut Vec<Act>) {
        if roster.active() == 0 || self.checks.len() >= MAX_CHECKS {
            return;
        }
        let next = (0..DRAWS).find_map(|_| {
            let slot = self.walk.next(roster.slots(), dice);
            let record = roster.get(slot).filter(|record| slot != ME && record.standing.is_active())?;
            (!self.checks.iter().any(|check| check.id.slot == slot)).then_some((slot, record))
        });
        let Some((slot, record)) = next else { return };
        self.serial = self.serial.wrapping_add(1);
        let mut check = Check {
            serial: self.serial,
            id: Id { slot, number: record.number },
            incarnation: record.incarnation,
            silent: now,
            next: now,
            rounds: 0,
            relays: 0,
            receipts: 0,
            counted: false,
        };
        if self.go_on(&mut check, now, roster, dice, acts) {
            self.checks.push(check);
        }
    }

    /// The next step of a check; false at its end.
    fn go_on(
        &mut self,
        check: &mut Check,
        now: Timestamp,
        roster: &Roster,
        dice: &mut Dice,
        acts: &mut Vec<Act>,
    ) -> bool {
        let Some(record) = roster.get(check.id.slot).filter(|record| still(check, record)) else { return false };
        let silence = now.since(check.silent);
        let Check { id, incarnation, .. } = *check;
        let mut suspected = record.standing == Standing::Suspect;
        if !suspected && silence >= self.stretched(self.settings.suspect_after) {
            acts.push(Act::Suspect { id, incarnation });
            suspected = true;
        }
        if suspected && self.is_over(silence, roster) {
            acts.push(Act::Dead { id, incarnation, doubted: !self.is_sure(roster) });
            return false;
        }
        check.rounds += 1;
        acts.push(Act::Ping { check: check.serial, id, incarnation, suspected });
        if check.rounds >= RELAY_FROM {
            for through in relays(id.slot, self.settings.relays, roster, dice) {
                check.relays += 1;
                acts.push(Act::Relay { check: check.serial, id, incarnation, suspected, through });
            }
        }
        if check.rounds == RELAY_FROM + 2 && !check.counted {
            self.count(check);
        }
        let again = if suspected { self.settings.suspect_again } else { self.settings.probe_again };
        check.next = now + self.stretched(again);
        true
    }

    fn is_over(&self, silence: Duration, roster: &Roster) -> bool {
        if mutant("suspect-is-dead") {
            return true;
        }
        let limit = self.stretched(self.settings.dead_after(roster.active() + 1));
        silence >= if self.sees(roster) { limit } else { limit + self.settings.withhold }
    }

    /// Silence of another may be deafness of this node.
    fn count(&mut self, check: &mut Check) {
        check.counted = true;
        self.see(check.id.slot, false);
        if check.relays > 0 && check.receipts * 2 < check.relays {
            self.health.worse(1);
        }
    }

    /// Whether this node hears at least half of those that it asked, itself among them.
    fn sees(&self, roster: &Roster) -> bool {
        // The dead say nothing, whoever declared them.
        self.hears_half_of(|slot| roster.get(slot).is_some_and(|record| record.standing.is_active()))
    }

    /// Like [`Detector::sees`], but those that nobody else holds for dead count as silent: a node that is cut off must
    /// not come to trust itself by declaring one after the other.
    fn is_sure(&self, roster: &Roster) -> bool {
        self.hears_half_of(|slot| roster.get(slot).is_some_and(|record| record.standing.is_active() || record.doubted))
    }

    fn hears_half_of(&self, counts: impl Fn(u32) -> bool) -> bool {
        let (mut asked, mut heard) = (0, 0);
        for (_, answered) in self.sight.iter().filter(|(slot, _)| counts(*slot)) {
            asked += 1;
            heard += usize::from(*answered);
        }
        mutant("no-local-health") || 2 * (heard + 1) > asked
    }

    fn see(&mut self, slot: u32, heard: bool) {
        self.sight.retain(|(other, _)| *other != slot);
        if self.sight.len() >= SIGHT {
            self.sight.pop_front();
        }
        self.sight.push_back((slot, heard));
    }

    /// A member has answered; the roster already knows its incarnation.
    pub(super) fn answered(&mut self, serial: u32, slot: u32, now: Timestamp, roster: &Roster) {
        let Some(at) = self.checks.iter().position(|check| check.serial == serial && check.id.slot == slot) else {
            return;
        };
        let refuted = roster.get(slot).is_none_or(|record| record.standing != Standing::Suspect);
        if let Some(check) = self.checks.get_mut(at) {
            check.silent = now;
        }
        self.see(slot, true);
        if refuted {
            self.checks.swap_remove(at);
            self.health.better();
        }
    }

    /// A relay has heard this node.
    pub(super) fn receipt(&mut self, serial: u32) {
        if let Some(check) = self.checks.iter_mut().find(|check| check.serial == serial) {
            check.receipts += 1;
        }
    }
}

/// Whether the check is still about this life of the member, not refuted.
fn still(check: &Check, record: &Record) -> bool {
    record.number == check.id.number && record.incarnation == check.incarnation && record.standing.is_active()
}

/// Some other active members.
fn relays(target: u32, wanted: usize, roster: &Roster, dice: &mut Dice) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(wanted);
    for _ in 0..DRAWS {
        if chosen.len() >= wanted.min(roster.active().saturating_sub(1)) {
            break;
        }
        let slot = dice.below(roster.slots());
        let fits = |record: &Record| record.standing.is_active() && slot != ME && slot != target;
        if roster.get(slot).is_some_and(fits) && !chosen.contains(&slot) {
            chosen.push(slot);
        }
    }
    chosen
}
