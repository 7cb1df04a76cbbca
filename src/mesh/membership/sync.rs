//! Comparing what this node knows with what others know: how a newcomer learns of everybody, how what was missed is
//! found, and how the halves of a healed cut find each other.
//!
//! A node asks for a stretch of names with digests of what it has; the answer is what differs, at most
//! [`ANSWERS`] datagrams, and where to go on.

use std::time::Duration;

use bytes::Bytes;

use super::core::Membership;
use super::effect::{Effect, Recipient, Seed};
use super::roster::{ME, Record, Roster, Standing};
use super::settings::Settings;
use super::swim::Dice;
use super::wire::{Body, Frame, Item, ItemsWriter};
use crate::model::{NodeId, Timestamp};

/// Most digests in a question.
const DIGESTS: usize = 70;
/// Most datagrams in an answer.
const ANSWERS: usize = 4;
/// How soon a newcomer asks again.
const HASTE: Duration = Duration::from_millis(100);
/// How soon news are passed on after a silence: long enough that several travel together.
pub(super) const FIRST_GOSSIP: Duration = Duration::from_millis(5);
/// Shortest time between two new numbers because of a claim.
pub(super) const RENEW_PERIOD: Duration = Duration::from_millis(500);
/// How often a slot is drawn to find a member of some kind.
const DRAWS: u32 = 64;

/// What synchronization remembers.
pub(super) struct State {
    pub due: Timestamp,
    pub reach_due: Timestamp,
    pub seeds: Vec<Seed>,
    pub seeds_due: Option<Timestamp>,
    seed_wait: Duration,
    next_seed: usize,
    /// Names up to here have been compared.
    cursor: String,
    /// Whether a whole round found nothing new: until then this node is a newcomer, who asks often and whose news are
    /// none to others.
    settled: bool,
    news: bool,
}

impl State {
    pub(super) fn new(settings: &Settings, now: Timestamp, dice: &mut Dice) -> Self {
        Self {
            due: now + dice.about(settings.sync_period),
            reach_due: now + dice.about(settings.reach_period),
            seeds: Vec::new(),
            seeds_due: None,
            seed_wait: settings.seed_wait,
            next_seed: 0,
            cursor: String::new(),
            settled: false,
            news: false,
        }
    }

    /// This node is no newcomer.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }
}

impl Membership {
    pub(super) fn sync_due(&mut self, now: Timestamp) {
        if self.sync.due <= now {
            let period = if self.sync.settled { self.settings.sync_period } else { HASTE };
            self.sync.due = now + self.dice.about(period);
            self.follow_size();
            if let Some(peer) = self.draw(|record| record.standing.is_active()) {
                self.ask(peer);
            }
        }
        if self.sync.reach_due <= now {
            self.sync.reach_due = now + self.dice.about(self.settings.reach_period);
            let some_down = self.shared.lock().roster.down() > 0;
            if let Some(peer) =
                some_down.then(|| self.draw(|record| record.standing == Standing::Down && !record.has_left())).flatten()
            {
                self.send_ask(peer);
            }
        }
        if self.sync.seeds_due.is_some_and(|due| due <= now) {
            self.ask_seeds(now);
        }
    }

    /// foca's settings for the present number of members.
    pub(super) fn follow_size(&mut self) {
        let members = self.foca.num_members() + 1;
        // Refused only where times of foca's own probing change, and they never do.
        let _ = self.foca.set_config(self.settings.foca(members));
    }

    /// A random member other than this node, of a kind.
    fn draw(&mut self, fits: impl Fn(&Record) -> bool) -> Option<u32> {
        let shared = self.shared.lock();
        let slots = shared.roster.slots();
        let dice = &mut self.dice;
        (0..DRAWS)
            .map(|_| dice.below(slots))
            .find(|slot| *slot != ME && shared.roster.get(*slot).is_some_and(&fits))
            .or_else(|| (1..slots.min(DRAWS)).find(|slot| shared.roster.get(*slot).is_some_and(&fits)))
    }

    fn ask_seeds(&mut self, now: Timestamp) {
        let joined = self.foca.num_members() > 0;
        let wait = if joined { self.settings.seed_period } else { self.sync.seed_wait };
        self.sync.seeds_due = Some(now + self.dice.about(wait));
        if joined {
            self.sync.seed_wait = self.settings.seed_wait;
        } else {
            self.sync.seed_wait = (wait + wait / 2).min(self.settings.seed_wait_max);
        }
        // Before anybody has answered a few at a time, afterwards one.
        for _ in 0..if joined { 1 } else { self.sync.seeds.len().min(8) } {
            self.sync.next_seed = (self.sync.next_seed + 1) % self.sync.seeds.len().max(1);
            if let Some(seed) = self.sync.seeds.get(self.sync.next_seed).cloned() {
                let bytes = self.question();
                self.effects.push(Effect::Send { to: Recipient::Seed(seed), bytes });
            }
        }
    }

    /// Asks `peer` for the next stretch of names.
    fn ask(&mut self, peer: u32) {
        let end = self.send_ask(peer);
        self.pass(end);
    }

    /// A stretch has been compared up to `end`; an empty one ends the round.
    fn pass(&mut self, end: String) {
        if end.is_empty() {
            self.sync.settled |= !std::mem::take(&mut self.sync.news);
        }
        self.sync.cursor = end;
    }

    fn send_ask(&mut self, peer: u32) -> String {
        let (question, end) = self.question_and_end();
        self.send(peer, question);
        end
    }

    fn question(&self) -> Bytes {
        self.question_and_end().0
    }

    fn question_and_end(&self) -> (Bytes, String) {
        let (number, incarnation) = self.stamp();
        let shared = self.shared.lock();
        let cursor = &self.sync.cursor;
        let (end, digests) = stretch(&shared.roster, cursor);
        let body = Body::Ask { cursor, end: &end, digests };
        (Frame { number, incarnation, body }.encode(), end)
    }

    pub(super) fn answer_ask(&mut self, peer: u32, cursor: &str, end: &str, digests: Vec<u64>) {
        let (number, incarnation) = self.stamp();
        let answers = {
            let shared = self.shared.lock();
            differences(&shared.roster, (number, incarnation), (cursor, end), digests)
        };
        for answer in answers {
            self.send(peer, answer);
        }
    }

    pub(super) fn take_items(&mut self, now: Timestamp, from: &NodeId, next: &str, items: &[Item<'_>]) {
        let before = self.stamp().0;
        let spread = self.sync.settled;
        for item in items {
            self.sync.news |= self.adopt(now, item, spread);
        }
        let renewed = self.foca.identity().number != before;
        if next.is_empty() && !renewed {
            return;
        }
        if !next.is_empty() {
            next.clone_into(&mut self.sync.cursor);
            self.sync.news = true;
        }
        // More is there to be had, or the one that held this node for dead is to see that it is not.
        let slot = self.shared.lock().roster.find(&from.0);
        if let Some(slot) = slot {
            self.ask(slot);
        }
    }

    /// Tells `to` what is known of `about`.
    pub(super) fn send_record(&mut self, to: u32, about: u32) {
        let (number, incarnation) = self.stamp();
        let mut writer = ItemsWriter::new(number, incarnation);
        {
            let shared = self.shared.lock();
            shared.roster.get(about).map(|record| writer.add(record));
        }
        self.send(to, writer.finish(""));
    }
}

/// The stretch of names after `cursor` as a question: its end (empty: the last name) and what is known.
fn stretch(roster: &Roster, cursor: &str) -> (String, Vec<u64>) {
    let mut end = String::new();
    let mut digests = Vec::with_capacity(DIGESTS);
    for record in roster.after(cursor).filter(|record| record.standing != Standing::Unheard) {
        if digests.len() == DIGESTS {
            return (end, digests);
        }
        digests.push(record.digest());
        record.name.0.as_ref().clone_into(&mut end);
    }
    (String::new(), digests)
}

/// What the other lacks of a stretch, as datagrams.
fn differences(roster: &Roster, stamp: (u64, u16), (cursor, end): (&str, &str), mut digests: Vec<u64>) -> Vec<Bytes> {
    let asked_for_all = digests.is_empty();
    digests.sort_unstable();
    let mut answers = Vec::new();
    let mut writer = ItemsWriter::new(stamp.0, stamp.1);
    let mut last = "";
    let stretch = roster.after(cursor).take_while(|record| end.is_empty() || &*record.name.0 <= end);
    for record in stretch {
        // Of a death that this node alone believes in it tells only the member, see `send_record`.
        if record.standing == Standing::Unheard || record.doubted || digests.binary_search(&record.digest()).is_ok() {
            continue;
        }
        if !writer.add(record) {
            let is_last = answers.len() + 1 == ANSWERS;
            answers.push(writer.finish(if is_last { last } else { "" }));
            if is_last {
                return answers;
            }
            writer = ItemsWriter::new(stamp.0, stamp.1);
            writer.add(record);
        }
        last = &record.name.0;
    }
    if writer.count > 0 || (asked_for_all && answers.is_empty()) {
        answers.push(writer.finish(""));
    }
    answers
}
