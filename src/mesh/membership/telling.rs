//! What this node tells about itself, and when: changes at once, load rarely and only where it matters.

use super::core::Membership;
use super::effect::TooLarge;
use super::roster::{ME, Standing, Told, generation_of};
use super::wire::{ItemsWriter, encode_meta, put_item};
use crate::mesh::member::Meta;
use crate::model::Timestamp;

/// How many members a goodbye goes to directly.
const FAREWELLS: usize = 16;

/// What waits to be told.
pub(super) struct State {
    pub due: Option<Timestamp>,
    pending: Option<Meta>,
    told_at: Timestamp,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { due: None, pending: None, told_at: now }
    }
}

impl Membership {
    /// Changes what this node tells about itself; the version is counted up here. A change of nothing but the load is
    /// told only where it is by more than a tenth, and not before [`super::Settings::load_period`] is over.
    ///
    /// # Errors
    /// Where it is too large: then nothing has changed.
    pub fn tell(&mut self, now: Timestamp, meta: Meta) -> Result<(), TooLarge> {
        encode_meta(&Meta { version: u64::MAX, ..meta.clone() }).ok_or(TooLarge)?;
        let Some(now) = self.enter(now) else { return Ok(()) };
        self.telling.pending = Some(meta);
        self.telling.due = Some(now);
        self.tell_due(now);
        self.settle(now);
        Ok(())
    }

    pub(super) fn tell_due(&mut self, now: Timestamp) {
        if self.telling.due.is_none_or(|due| due > now) {
            return;
        }
        self.telling.due = None;
        let Some(mut meta) = self.telling.pending.take() else { return };
        let Some(told) = self.told() else { return };
        let present = &told.meta;
        let only_load = Meta { version: present.version, load_millicores: present.load_millicores, ..meta.clone() };
        if only_load == *present {
            if !matters(present.load_millicores, meta.load_millicores) {
                return;
            }
            let from = self.telling.told_at + self.settings.load_period(self.foca.num_members() + 1);
            if from > now {
                self.telling.due = Some(from);
                self.telling.pending = Some(meta);
                return;
            }
        }
        meta.version = meta.version.max(present.version.saturating_add(1));
        let version = meta.version;
        if let Some(bytes) = encode_meta(&meta) {
            self.telling.told_at = now;
            self.set_told(Told { generation: told.generation, version, left: false, meta, bytes });
            self.pass_on_meta();
        }
    }

    fn told(&self) -> Option<std::sync::Arc<Told>> {
        self.shared.lock().roster.get(ME).and_then(|me| me.told.clone())
    }

    fn set_told(&mut self, told: Told) {
        let mut shared = self.shared.lock();
        if let Some(me) = shared.roster.get_mut(ME) {
            me.told = Some(told.into());
        }
        shared.changed = true;
    }

    /// Starts the rumour of what this node tells.
    pub(super) fn pass_on_meta(&mut self) {
        self.pass_on(ME);
    }

    /// Starts, or starts again, the rumour of what a member tells.
    pub(super) fn pass_on(&mut self, slot: u32) {
        let mut bytes = Vec::new();
        if let Some(record) = self.shared.lock().roster.get(slot) {
            put_item(&mut bytes, record);
        }
        if self.foca.add_broadcast(&bytes).is_err() {
            self.counts.malformed += 1;
        }
    }

    /// Tells some members directly that this one leaves, and lets them tell the rest.
    pub(super) fn say_goodbye(&mut self) {
        let Some(told) = self.told() else { return };
        let (number, incarnation) = self.stamp();
        let version = told.version.saturating_add(1);
        let (meta, bytes) = (told.meta.clone(), told.bytes.clone());
        self.set_told(Told { generation: generation_of(number), version, left: true, meta, bytes });
        self.pass_on_meta();
        let mut writer = ItemsWriter::new(number, incarnation);
        let recipients: Vec<u32> = {
            let mut shared = self.shared.lock();
            if let Some(me) = shared.roster.get_mut(ME) {
                me.standing = Standing::Down;
                writer.add(me);
            }
            let slots = shared.roster.slots();
            let start = self.dice.below(slots);
            (0..slots)
                .map(|step| (start + step) % slots)
                .filter(|slot| *slot != ME && shared.roster.get(*slot).is_some_and(|it| it.standing.is_active()))
                .take(FAREWELLS)
                .collect()
        };
        let goodbye = writer.finish("");
        for slot in recipients {
            self.send(slot, goodbye.clone());
        }
    }
}

/// Whether a change of load is by more than a tenth.
fn matters(was: u64, is: u64) -> bool {
    was.abs_diff(is).saturating_mul(10) > was.max(1)
}
