//! What the core does with what it receives.

use foca::State;

use super::core::Membership;
use super::roster::{ME, Standing};
use super::settings::MAX_DATAGRAM;
use super::swim::Id;
use super::wire::{Body, FOCA, Frame, Item, Malformed};
use crate::mesh::mutant::mutant;
use crate::model::{NodeId, Timestamp};

impl Membership {
    /// Takes a datagram from `from`, whose name is certain. Any bytes will do; what cannot be read is counted.
    pub fn received(&mut self, now: Timestamp, from: &NodeId, bytes: &[u8]) {
        let Some(now) = self.enter(now) else { return };
        if *from == self.me {
            return;
        }
        if self.take_in(now, from, bytes).is_err() {
            self.counts.malformed += 1;
        }
        self.settle(now);
    }

    fn take_in(&mut self, now: Timestamp, from: &NodeId, bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(Malformed);
        }
        let kind = bytes.first().ok_or(Malformed)?;
        if *kind == FOCA {
            return self.take_gossip(now, from, bytes.get(1..).unwrap_or_default());
        }
        let frame = Frame::decode(bytes)?;
        let slot = self.slot_of(from, frame.number)?;
        let id = Id { slot, number: frame.number };
        if let Body::Items { next, items } = &frame.body {
            // Also from one that is held for dead here: it may say the same of this node.
            self.take_items(now, from, next, items);
        }
        if !self.hear(now, id, frame.incarnation) {
            return Ok(());
        }
        self.answer(now, id, frame.incarnation, frame.body);
        Ok(())
    }

    fn take_gossip(&mut self, now: Timestamp, from: &NodeId, bytes: &[u8]) -> Result<(), Malformed> {
        let sender = self.slot_of(from, 0)?;
        self.shared.lock().sender = sender;
        self.with_foca(now, |foca, out| foca.handle_data(bytes, out));
        Ok(())
    }

    fn slot_of(&mut self, name: &NodeId, number: u64) -> Result<u32, Malformed> {
        let mut shared = self.shared.lock();
        if !shared.is_credible(number) {
            return Err(Malformed);
        }
        shared.roster.intern_shared(name).map_err(|_| Malformed)
    }

    /// A member has spoken. False where it is held for dead or older than what is known: then it is told so.
    fn hear(&mut self, now: Timestamp, id: Id, incarnation: u16) -> bool {
        let refused = {
            let shared = self.shared.lock();
            let Some(known) = shared.roster.get(id.slot) else { return false };
            let past = known.number > id.number || (known.number == id.number && known.standing == Standing::Down);
            past && known.standing != Standing::Unheard && !mutant("revive-tombstone")
        };
        if refused {
            self.send_record(id.slot, id.slot);
            return false;
        }
        self.update(now, id, incarnation, State::Alive, true);
        self.spoke(id);
        true
    }

    /// A member has spoken to this node, perhaps through another.
    fn spoke(&mut self, id: Id) {
        let mut shared = self.shared.lock();
        let at = shared.now;
        shared.roster.hear(id.slot, id.number, at);
    }

    fn answer(&mut self, now: Timestamp, from: Id, incarnation: u16, body: Body<'_>) {
        match body {
            Body::Ping { check, number, incarnation, suspected, origin } => {
                if suspected && number == self.stamp().0 {
                    self.refute(now, incarnation);
                }
                self.send_frame(from.slot, Body::Ack { check, origin });
                if let Some(origin) = self.known(origin) {
                    self.send_frame(origin, Body::Ack { check, origin: None });
                }
            }
            Body::Ack { check, origin: None } => {
                let shared = self.shared.lock();
                self.detector.answered(check, from.slot, now, &shared.roster);
            }
            Body::Ack { check, origin } => {
                let Some(origin) = self.known(origin) else { return };
                let Some(target) = self.shared.lock().roster.name(from.slot).cloned() else { return };
                let number = from.number;
                self.send_frame(origin, Body::Relayed { check, target: &target.0, number, incarnation });
            }
            Body::Relay { check, target, number, incarnation, suspected } => {
                self.send_frame(from.slot, Body::Receipt { check });
                let Some(target) = self.known(Some(target)) else { return };
                let Some(origin) = self.shared.lock().roster.name(from.slot).cloned() else { return };
                let origin = Some(&*origin.0);
                self.send_frame(target, Body::Ping { check, number, incarnation, suspected, origin });
            }
            Body::Receipt { check } => self.detector.receipt(check),
            Body::Relayed { check, target, number, incarnation } => {
                let Some(slot) = self.known(Some(target)) else { return };
                if self.shared.lock().is_credible(number) {
                    let id = Id { slot, number };
                    self.update(now, id, incarnation, State::Alive, true);
                    self.spoke(id);
                    let shared = self.shared.lock();
                    self.detector.answered(check, slot, now, &shared.roster);
                }
            }
            Body::Ask { cursor, end, digests } => self.answer_ask(from.slot, cursor, end, digests),
            Body::Items { .. } => {}
        }
    }

    /// Slot of another that is known by that name.
    fn known(&self, name: Option<&str>) -> Option<u32> {
        self.shared.lock().roster.find(name?).filter(|slot| *slot != ME)
    }

    /// Somebody suspects this node: it counts its incarnation up and says so.
    fn refute(&mut self, now: Timestamp, incarnation: u16) {
        if mutant("forget-refute") {
            return;
        }
        let (number, own) = self.stamp();
        if incarnation >= own {
            self.shared.lock().refuted += 1;
        }
        self.update(now, Id { slot: ME, number }, incarnation, State::Suspect, true);
    }

    /// Takes over what another knows of a member. Says whether that is news.
    pub(super) fn adopt(&mut self, now: Timestamp, item: &Item<'_>, spread: bool) -> bool {
        let slot = {
            let mut shared = self.shared.lock();
            if !shared.is_credible(item.number) {
                return false;
            }
            let Ok(slot) = shared.roster.intern(item.name) else { return false };
            slot
        };
        let id = Id { slot, number: item.number };
        let Some(told) = state(item.standing) else { return false };
        if slot == ME {
            self.adopt_mine(now, id, item.incarnation, told);
            return false;
        }
        let learned = self.learn(slot, item, spread);
        let standing = self.weighed(id, item.standing);
        let is_news = self.shared.lock().roster.supersedes(slot, item.number, item.incarnation, standing);
        if let Some(state) = state(standing).filter(|_| is_news) {
            self.update(now, id, item.incarnation, state, spread);
        }
        learned || is_news
    }

    /// How another's news of how a member stands are to be taken.
    fn weighed(&mut self, id: Id, standing: Standing) -> Standing {
        let mut shared = self.shared.lock();
        if standing == Standing::Down {
            shared.roster.doubt(id.slot, id.number, false);
        }
        let now = shared.now;
        shared.roster.get(id.slot).map_or(standing, |record| record.weighed(id.number, standing, now))
    }

    fn learn(&mut self, slot: u32, item: &Item<'_>, spread: bool) -> bool {
        let Some(told) = &item.told else { return false };
        let told = super::roster::Told {
            generation: told.generation,
            version: told.version,
            left: told.left,
            meta: told.meta.clone(),
            bytes: told.bytes.clone(),
        };
        let learned = {
            let mut shared = self.shared.lock();
            let learned = shared.roster.learn(slot, told.into());
            shared.changed |= learned;
            learned
        };
        if learned && spread {
            self.pass_on(slot);
        }
        learned
    }

    /// What another holds of this node itself.
    fn adopt_mine(&mut self, now: Timestamp, id: Id, incarnation: u16, state: State) {
        let (number, _) = self.stamp();
        if id.number > number {
            let mut shared = self.shared.lock();
            shared.claimed = shared.claimed.max(id.number);
        } else if id.number == number && state == State::Suspect {
            self.refute(now, incarnation);
        } else if id.number == number && state == State::Down {
            // foca takes the next number and tells everybody.
            self.update(now, id, incarnation, State::Down, true);
        }
    }
}

/// foca's word for how a member stands, where it has one.
fn state(standing: Standing) -> Option<State> {
    match standing {
        Standing::Unheard => None,
        Standing::Alive => Some(State::Alive),
        Standing::Suspect => Some(State::Suspect),
        Standing::Down => Some(State::Down),
    }
}
