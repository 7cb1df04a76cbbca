//! The core: what comes in, what is to be done about it, and one order of everything that waits for its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use foca::{Foca, Member as Update, State, Timer};
use parking_lot::Mutex;

use super::detector::{Act, Detector};
use super::effect::{Acquaintance, Counts, Effect, Recipient, Seed, TooLarge};
use super::generation::MAX_GENERATION;
use super::roster::{ME, Roster, Standing, Told, number_of};
use super::settings::{LATE, MAX_SEEDS, Settings};
use super::swim::{Dice, Id, Outbox, Rumours, Shared, Wire};
use super::wire::{Body, FOCA, Frame, encode_meta};
use crate::mesh::member::{Life, Meta, View};
use crate::mesh::mutant::mutant;
use crate::model::{NodeId, Timestamp};

/// Membership without I/O. Give it what comes in and call [`Membership::due`] at [`Membership::next_due`]; after each
/// call take its effects with [`Membership::drain`].
pub struct Membership {
    pub(super) me: NodeId,
    pub(super) settings: Settings,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) foca: Foca<Id, Wire, Dice, Rumours>,
    pub(super) detector: Detector,
    pub(super) dice: Dice,
    pub(super) effects: Vec<Effect>,
    pub(super) counts: Counts,
    /// Time during which this node stood still, in microseconds; its timers did not run then.
    lost: i64,
    /// foca's gossip timer and when it is due; waits while there is no news.
    gossip: Option<(Timer<Id>, Timestamp)>,
    gossips: bool,
    /// When the dead are forgotten.
    forget: BTreeMap<(Timestamp, u64), Id>,
    forgets: u64,
    pub(super) sync: super::sync::State,
    pub(super) telling: super::telling::State,
    /// This node's number at the end of the last input.
    number: u64,
    pub(super) renewed_at: Option<Timestamp>,
    pub(super) left: bool,
}

impl Membership {
    /// A node alone. `generation` is larger at each start (see [`super::generation`]); `seed` decides its choices.
    ///
    /// # Errors
    /// Where `meta` is too large.
    pub fn new(
        me: &NodeId,
        generation: u64,
        meta: Meta,
        settings: Settings,
        seed: u64,
        now: Timestamp,
    ) -> Result<Self, TooLarge> {
        let generation = generation.min(MAX_GENERATION);
        let number = number_of(generation);
        let bytes = encode_meta(&meta).ok_or(TooLarge)?;
        let told = Told { generation, version: meta.version, left: false, meta, bytes };
        let roster = Roster::new(me.clone(), number, told, now);
        let shared = Shared { roster, now, changed: true, claimed: 0, gone: Vec::new(), sender: ME, refuted: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let mut dice = Dice(seed);
        let (wire, rumours) = (Wire(shared.clone()), Rumours(shared.clone()));
        let foca =
            Foca::with_custom_broadcast(Id { slot: ME, number }, settings.foca(1), Dice(dice.next()), wire, rumours);
        let mut core = Self {
            me: me.clone(),
            detector: Detector::new(settings.clone(), now),
            sync: super::sync::State::new(&settings, now, &mut dice),
            telling: super::telling::State::new(now),
            settings,
            shared,
            foca,
            dice,
            effects: Vec::new(),
            counts: Counts::default(),
            lost: 0,
            gossip: None,
            gossips: false,
            forget: BTreeMap::new(),
            forgets: 0,
            number,
            renewed_at: None,
            left: false,
        };
        core.pass_on_meta();
        core.settle(now);
        Ok(core)
    }

    /// Takes the effects of the calls so far, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// The members as this node sees them now.
    pub fn view(&self) -> View {
        self.shared.lock().roster.view(self.detector.health.score())
    }

    /// How one member stands and the version of what it tells, where it is known: cheaper than a view.
    pub fn member(&self, node: &NodeId) -> Option<(Life, u64)> {
        let shared = self.shared.lock();
        let record = shared.roster.get(shared.roster.find(&node.0)?)?;
        Some((record.life()?, record.told.as_ref().map_or(0, |told| told.version)))
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When [`Membership::due`] is to be called, `None` once this node has left. Changes with every call.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.left {
            return None;
        }
        let gossip = self.gossip.as_ref().filter(|_| self.gossips).map(|(_, due)| *due);
        let forget = self.forget.first_key_value().map(|((due, _), _)| *due);
        let others = [gossip, forget, self.telling.due, self.sync.seeds_due];
        let first = others.into_iter().flatten().fold(self.detector.next_due(), Timestamp::min);
        let first = first.min(self.sync.due).min(self.sync.reach_due);
        Some(Timestamp(first.0.saturating_add(self.lost)))
    }

    /// Does what is due. Calling it early does no harm.
    pub fn due(&mut self, now: Timestamp) {
        let Some(now) = self.enter(now) else { return };
        let acts = {
            let shared = self.shared.lock();
            self.detector.due(now, &shared.roster, &mut self.dice)
        };
        for act in acts {
            self.carry_out(act);
        }
        self.gossip_due(now);
        while let Some(first) = self.forget.first_entry().filter(|first| first.key().0 <= now) {
            let id = first.remove();
            self.with_foca(now, |foca, out| foca.handle_timer(Timer::RemoveDown(id), out));
            self.shared.lock().roster.forget(id.slot, id.number);
        }
        self.sync_due(now);
        self.tell_due(now);
        self.settle(now);
    }

    /// Names nodes to ask first; they are asked until one answers, and now and then afterwards.
    pub fn join(&mut self, now: Timestamp, seeds: impl IntoIterator<Item = Seed>) {
        let Some(now) = self.enter(now) else { return };
        for seed in seeds {
            if self.sync.seeds.len() < MAX_SEEDS && !self.sync.seeds.contains(&seed) {
                self.sync.seeds.push(seed);
            }
        }
        self.sync.seeds_due = (!self.sync.seeds.is_empty()).then_some(now);
        self.sync_due(now);
        self.settle(now);
    }

    /// This node, for [`Membership::acquaint`].
    pub fn acquaintance(&self) -> Acquaintance {
        let told = self.shared.lock().roster.get(ME).and_then(|me| me.told.clone());
        Acquaintance { name: self.me.clone(), number: self.stamp().0, told }
    }

    /// Takes others as long known and alive, without telling anybody: how a simulation starts with a large cluster.
    pub fn acquaint<'a>(&mut self, now: Timestamp, others: impl IntoIterator<Item = &'a Acquaintance>) {
        for other in others {
            let slot = self.shared.lock().roster.intern_shared(&other.name);
            let Ok(slot) = slot else { continue };
            if let Some(told) = &other.told {
                self.shared.lock().roster.learn(slot, told.clone());
            }
            if slot != ME {
                self.update(now, Id { slot, number: other.number }, 0, State::Alive, false);
            }
        }
        self.sync.settle();
        self.follow_size();
        self.settle(now);
    }

    /// Says goodbye to some, who tell the rest; afterwards nothing more happens here. Coming back takes a new
    /// generation.
    pub fn leave(&mut self, now: Timestamp) {
        let Some(now) = self.enter(now) else { return };
        self.say_goodbye();
        self.with_foca(now, |foca, out| foca.leave_cluster(out));
        self.left = true;
    }

    /// This node's own time, and whether it stood still; `None` once it has left.
    ///
    /// A timer that is late says that this node was paused or starved: what others sent meanwhile has not been read
    /// yet, so everything that waits is put off by as much, and nobody is judged by an answer that lies unread.
    pub(super) fn enter(&mut self, now: Timestamp) -> Option<Timestamp> {
        let late = now.since(self.next_due()?);
        if late > LATE && !mutant("no-local-health") {
            self.lost = self.lost.saturating_add(i64::try_from(late.as_micros()).unwrap_or(i64::MAX));
            self.counts.late += 1;
            let steps = u32::try_from(late.as_millis() / 500).unwrap_or(u32::MAX);
            self.detector.health.worse(steps.saturating_add(1));
        }
        let own = Timestamp(now.0.saturating_sub(self.lost));
        self.shared.lock().now = now;
        Some(own)
    }

    fn carry_out(&mut self, act: Act) {
        let now = Timestamp(self.shared.lock().now.0.saturating_sub(self.lost));
        match act {
            Act::Ping { check, id, incarnation, suspected } => {
                let ping = Body::Ping { check, number: id.number, incarnation, suspected, origin: None };
                self.send_frame(id.slot, ping);
            }
            Act::Relay { check, id, incarnation, suspected, through } => {
                let Some(target) = self.shared.lock().roster.name(id.slot).cloned() else { return };
                let number = id.number;
                self.send_frame(through, Body::Relay { check, target: &target.0, number, incarnation, suspected });
            }
            Act::Suspect { id, incarnation } => {
                self.counts.suspected += 1;
                self.update(now, id, incarnation, State::Suspect, true);
            }
            Act::Dead { id, incarnation, doubted } => {
                self.counts.declared += 1;
                self.update(now, id, incarnation, State::Down, !doubted);
                self.shared.lock().roster.doubt(id.slot, id.number, doubted);
                // Should it live, it learns how it stands here.
                self.send_record(id.slot, id.slot);
            }
        }
    }

    /// Applies news of a member, which are told on where `spread`.
    pub(super) fn update(&mut self, now: Timestamp, id: Id, incarnation: u16, state: State, spread: bool) {
        let update = Update::new(id, incarnation, state);
        if id.slot != ME {
            let standing = match state {
                State::Alive => Standing::Alive,
                State::Suspect => Standing::Suspect,
                State::Down => Standing::Down,
            };
            let mut shared = self.shared.lock();
            if !shared.roster.supersedes(id.slot, id.number, incarnation, standing) {
                return;
            }
            let at = shared.now;
            shared.changed |= shared.roster.note(id.slot, id.number, incarnation, standing, at);
        }
        self.with_foca(now, |foca, out| foca.apply_many(std::iter::once(update), spread, out));
    }

    /// Calls foca and takes its effects. What it refuses is counted.
    pub(super) fn with_foca(
        &mut self,
        now: Timestamp,
        call: impl FnOnce(&mut Foca<Id, Wire, Dice, Rumours>, &mut Outbox) -> Result<(), foca::Error>,
    ) {
        let mut out = Outbox::default();
        if call(&mut self.foca, &mut out).is_err() {
            self.counts.malformed += 1;
        }
        for (to, bytes) in out.sends {
            let mut datagram = Vec::with_capacity(bytes.len() + 1);
            datagram.push(FOCA);
            datagram.extend_from_slice(&bytes);
            self.send(to.slot, datagram.into());
        }
        for (timer, after) in out.timers {
            match timer {
                Timer::RemoveDown(id) => {
                    self.forgets += 1;
                    self.forget.insert((now + after, self.forgets), id);
                }
                other => {
                    self.gossip = Some((other, now + after));
                    self.gossips = false;
                }
            }
        }
    }

    fn gossip_due(&mut self, now: Timestamp) {
        if !self.gossips || self.gossip.as_ref().is_none_or(|(_, due)| *due > now) {
            return;
        }
        let Some((timer, _)) = self.gossip.take() else { return };
        self.gossips = false;
        self.with_foca(now, |foca, out| foca.handle_timer(timer, out));
    }

    pub(super) fn send(&mut self, slot: u32, bytes: Bytes) {
        if slot == ME {
            return;
        }
        let name = self.shared.lock().roster.name(slot).cloned();
        if let Some(name) = name {
            self.effects.push(Effect::Send { to: Recipient::Member(name), bytes });
        }
    }

    /// This node's number and incarnation.
    pub(super) fn stamp(&self) -> (u64, u16) {
        let number = self.foca.identity().number;
        let shared = self.shared.lock();
        let incarnation = shared.roster.get(ME).filter(|me| me.number == number).map_or(0, |me| me.incarnation);
        (number, incarnation)
    }

    pub(super) fn send_frame(&mut self, slot: u32, body: Body<'_>) {
        let (number, incarnation) = self.stamp();
        let bytes = Frame { number, incarnation, body }.encode();
        self.send(slot, bytes);
    }

    /// Ends every input: what foca's parts left to do, and whether there is news to pass on.
    pub(super) fn settle(&mut self, now: Timestamp) {
        let (gone, claimed, refuted) = {
            let mut shared = self.shared.lock();
            (std::mem::take(&mut shared.gone), shared.claimed, std::mem::take(&mut shared.refuted))
        };
        for id in gone {
            self.update(now, id, u16::MAX, State::Down, true);
        }
        self.detector.health.worse(refuted.min(1));
        self.renew_above(now, claimed);
        let number = self.foca.identity().number;
        let news = self.foca.updates_backlog() + self.foca.custom_broadcast_backlog() > 0;
        if let Some((_, due)) = self.gossip.as_mut().filter(|_| news && !self.gossips) {
            *due = (*due).max(now + super::sync::FIRST_GOSSIP);
        }
        self.gossips = news && self.gossip.is_some();
        let mut shared = self.shared.lock();
        if let Some(me) = shared.roster.get_mut(ME).filter(|me| me.number != number) {
            (me.number, me.incarnation) = (number, 0);
        }
        if std::mem::replace(&mut self.number, number) != number {
            shared.changed = true;
            self.counts.renewed += 1;
        }
        if std::mem::take(&mut shared.changed) && self.effects.last() != Some(&Effect::Changed) {
            self.effects.push(Effect::Changed);
        }
    }

    /// Takes a number above `claimed`, which somebody gave as this node's; at most so often, because two nodes of the
    /// same name would otherwise chase each other.
    fn renew_above(&mut self, now: Timestamp, claimed: u64) {
        let recent = self.renewed_at.is_some_and(|at| now.since(at) < super::sync::RENEW_PERIOD);
        if claimed <= self.foca.identity().number || recent {
            return;
        }
        self.renewed_at = Some(now);
        self.shared.lock().claimed = 0;
        let id = Id { slot: ME, number: claimed.saturating_add(1) };
        self.with_foca(now, |foca, out| foca.change_identity(id, out));
    }
}
