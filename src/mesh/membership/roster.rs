//! Everything this node knows of every member, in one table: foca's state mirrored, and what each tells about itself.
//!
//! A member has a slot, so that foca and the detector compare numbers instead of names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::settings::{MAX_MEMBERS, MAX_NAME};
use crate::mesh::member::{Life, Member, Meta, View};
use crate::model::{NodeId, Timestamp};

/// Slot of this node itself.
pub(super) const ME: u32 = 0;

/// Bits of a number that count renewals; the rest is the generation.
const RENEWALS: u32 = 16;

/// The number of a generation's first life. Renewals count up from it.
pub(super) const fn number_of(generation: u64) -> u64 {
    generation << RENEWALS
}

/// The generation of a number.
pub(super) const fn generation_of(number: u64) -> u64 {
    number >> RENEWALS
}

/// What is known of a member's life, in the order of preference within one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Somebody told what it tells, nobody that it lives.
    Unheard,
    /// It answers.
    Alive,
    /// It has not answered of late.
    Suspect,
    /// Dead or gone; the end of its number.
    Down,
}

impl Standing {
    pub(super) fn is_active(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// What a member tells about itself, as it travels and as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub generation: u64,
    pub version: u64,
    /// It said goodbye.
    pub left: bool,
    pub meta: Meta,
    /// `meta`, encoded.
    pub bytes: Box<[u8]>,
}

impl Told {
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.generation, self.version) > (other.generation, other.version)
    }
}

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub name: NodeId,
    pub number: u64,
    pub told: Option<Arc<Told>>,
    pub since: Timestamp,
    pub incarnation: u16,
    pub standing: Standing,
    /// When it last spoke to this node itself under its number, by this node's clock.
    pub heard: Timestamp,
    /// This node alone holds it for dead, and could be the one that is cut off: told to nobody but to the member.
    pub doubted: bool,
}

/// A member that has spoken to this node within this is not believed to be dead because another says so: one that is
/// dead has been silent for [`super::Settings::dead_after`], which is longer, when it is declared.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl Record {
    /// How news that a member of this number stands so are to be taken at `now`: news of the death of one that speaks
    /// are a suspicion, which it can refute; a goodbye is no news of a death.
    pub(super) fn weighed(&self, number: u64, standing: Standing, now: Timestamp) -> Standing {
        let left = self.current().is_some_and(|told| told.left);
        let speaks = number == self.number && self.standing.is_active() && now.since(self.heard) < HEARD_WITHIN;
        if standing == Standing::Down && speaks && !left { Standing::Suspect } else { standing }
    }

    /// What it tells, where that is of its present generation.
    pub(super) fn current(&self) -> Option<&Arc<Told>> {
        self.told.as_ref().filter(|told| told.generation == generation_of(self.number))
    }

    /// Its life for readers; `None` where nobody says that it has one.
    pub(super) fn life(&self) -> Option<Life> {
        match self.standing {
            Standing::Unheard => None,
            Standing::Alive => Some(Life::Alive),
            Standing::Suspect => Some(Life::Suspect),
            Standing::Down if self.has_left() => Some(Life::Left),
            Standing::Down => Some(Life::Dead),
        }
    }

    fn unheard(name: NodeId) -> Self {
        Self {
            name,
            number: 0,
            told: None,
            since: Timestamp(0),
            incarnation: 0,
            standing: Standing::Unheard,
            heard: Timestamp(0),
            doubted: false,
        }
    }

    pub(super) fn has_left(&self) -> bool {
        self.standing == Standing::Down && self.current().is_some_and(|told| told.left)
    }

    /// A number that differs where anything that is passed on differs.
    pub(super) fn digest(&self) -> u64 {
        let told = self.current().map_or(0, |told| told.version.wrapping_mul(2) + 1 + u64::from(told.left));
        let mut hash = 0xcbf2_9ce4_8422_2325;
        let standing = self.standing as u64 + 8 * u64::from(self.doubted);
        let fields = [self.number, u64::from(self.incarnation), standing, told];
        for byte in self.name.0.bytes().chain(fields.into_iter().flat_map(u64::to_le_bytes)) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash
    }
}

/// The table is full ([`MAX_MEMBERS`]) or the name is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another member, or no name of one")]
pub(super) struct Refused;

pub(super) struct Roster {
    records: Vec<Record>,
    /// Slots in the order of names.
    sorted: Vec<u32>,
    /// Slots of forgotten members.
    free: Vec<u32>,
    /// Others that are alive or suspect.
    active: usize,
    down: usize,
    /// Slots by the address of the name that they were last found by: most names come from the same few connections.
    recent: Vec<u32>,
}

/// Names that are found without a search.
const RECENT: usize = 128;

impl Roster {
    pub(super) fn new(me: NodeId, number: u64, told: Told, now: Timestamp) -> Self {
        let me =
            Record { number, told: Some(told.into()), since: now, standing: Standing::Alive, ..Record::unheard(me) };
        Self { records: vec![me], sorted: vec![ME], free: Vec::new(), active: 0, down: 0, recent: vec![ME; RECENT] }
    }

    /// Others that are alive or suspect.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Others that are down.
    pub(super) fn down(&self) -> usize {
        self.down
    }

    /// Slots in use or free; every slot is below.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        self.records.get_mut(slot as usize)
    }

    pub(super) fn name(&self, slot: u32) -> Option<&NodeId> {
        self.get(slot).map(|record| &record.name)
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.position(name).ok().and_then(|at| self.sorted.get(at).copied())
    }

    /// The slot of `name`, made where there is none.
    pub(super) fn intern(&mut self, name: &str) -> Result<u32, Refused> {
        self.intern_as(name, || name.into())
    }

    /// Like [`Roster::intern`], sharing the name's bytes.
    pub(super) fn intern_shared(&mut self, name: &NodeId) -> Result<u32, Refused> {
        let place = (name.0.as_ptr() as usize >> 4) % RECENT;
        let recent = self.recent.get(place).copied().unwrap_or(ME);
        if self.name(recent).is_some_and(|known| Arc::ptr_eq(&known.0, &name.0)) {
            return Ok(recent);
        }
        let slot = self.intern_as(&name.0, || name.0.clone())?;
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = slot;
        }
        Ok(slot)
    }

    fn intern_as(&mut self, name: &str, owned: impl FnOnce() -> Arc<str>) -> Result<u32, Refused> {
        let at = match self.position(name) {
            Ok(at) => return self.sorted.get(at).copied().ok_or(Refused),
            Err(at) => at,
        };
        if self.sorted.len() >= MAX_MEMBERS || !is_name(name) {
            return Err(Refused);
        }
        let record = Record::unheard(NodeId(owned()));
        let slot = if let Some(slot) = self.free.pop() {
            if let Some(place) = self.get_mut(slot) {
                *place = record;
            }
            slot
        } else {
            self.records.push(record);
            self.slots() - 1
        };
        self.sorted.insert(at, slot);
        Ok(slot)
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|slot| self.name(*slot).map_or("", |node| &node.0).cmp(name))
    }

    /// Records with names after `after`, in the order of names.
    pub(super) fn after(&self, after: &str) -> impl Iterator<Item = &Record> {
        let from = match self.position(after) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        self.sorted.get(from..).unwrap_or_default().iter().filter_map(|slot| self.get(*slot))
    }

    /// Whether news of a member replace what is known, by SWIM's order of preference.
    pub(super) fn supersedes(&self, slot: u32, number: u64, incarnation: u16, standing: Standing) -> bool {
        let Some(known) = self.get(slot) else { return false };
        match (known.standing, standing) {
            (_, Standing::Unheard) => false,
            (Standing::Unheard, _) => true,
            _ if number != known.number => number > known.number,
            (Standing::Down, _) => false,
            (_, Standing::Down) => true,
            (Standing::Alive, Standing::Suspect) => incarnation >= known.incarnation,
            _ => incarnation > known.incarnation,
        }
    }

    /// Takes over what foca holds of a member now. Says whether that is a change.
    pub(super) fn note(
        &mut self,
        slot: u32,
        number: u64,
        incarnation: u16,
        standing: Standing,
        now: Timestamp,
    ) -> bool {
        let Some(known) = self.get_mut(slot).filter(|_| slot != ME) else { return false };
        let was = known.standing;
        if (known.number, known.incarnation, was) == (number, incarnation, standing) {
            return false;
        }
        if was != standing || number != known.number {
            known.since = now;
            known.doubted = false;
        }
        if number != known.number {
            known.heard = Timestamp(0);
        }
        (known.number, known.incarnation, known.standing) = (number, incarnation, standing);
        self.active = (self.active + usize::from(standing.is_active())).saturating_sub(usize::from(was.is_active()));
        let down = |standing| usize::from(standing == Standing::Down);
        self.down = (self.down + down(standing)).saturating_sub(down(was));
        true
    }

    /// A member has spoken to this node.
    pub(super) fn hear(&mut self, slot: u32, number: u64, now: Timestamp) {
        if let Some(record) = self.get_mut(slot).filter(|record| record.number == number) {
            record.heard = now;
        }
    }

    /// This node alone holds a member for dead, or another does so as well.
    pub(super) fn doubt(&mut self, slot: u32, number: u64, doubted: bool) {
        let down = |record: &&mut Record| record.number == number && record.standing == Standing::Down;
        if let Some(record) = self.get_mut(slot).filter(down) {
            record.doubted = doubted;
        }
    }

    /// Keeps what a member tells, where it is news.
    pub(super) fn learn(&mut self, slot: u32, told: Arc<Told>) -> bool {
        let Some(record) = self.get_mut(slot).filter(|_| slot != ME) else { return false };
        if record.told.as_ref().is_some_and(|known| !told.is_newer_than(known)) {
            return false;
        }
        record.told = Some(told);
        true
    }

    /// Forgets a member that has been down for long.
    pub(super) fn forget(&mut self, slot: u32, number: u64) {
        let Some(record) = self.get(slot) else { return };
        if slot == ME || record.number != number || record.standing != Standing::Down {
            return;
        }
        let name = record.name.clone();
        if let Ok(at) = self.position(&name.0) {
            self.sorted.remove(at);
            self.down = self.down.saturating_sub(1);
            self.free.push(slot);
            if let Some(record) = self.get_mut(slot) {
                record.standing = Standing::Unheard;
                record.told = None;
            }
        }
    }

    /// All members for readers. `local_health` is this node's score.
    pub(super) fn view(&self, local_health: u32) -> View {
        let me = self.get(ME).map(|record| record.name.clone()).unwrap_or_else(|| NodeId("".into()));
        let members = self.after("").filter_map(member).map(|member| (member.node.clone(), member));
        View { me, members: members.collect::<BTreeMap<_, _>>(), local_health }
    }
}

fn member(record: &Record) -> Option<Member> {
    let life = record.life()?;
    let renewals = record.number & ((1 << RENEWALS) - 1);
    Some(Member {
        node: record.name.clone(),
        generation: generation_of(record.number),
        incarnation: (renewals << u16::BITS) | u64::from(record.incarnation),
        life,
        since: record.since,
        meta: record.told.as_ref().map(|told| told.meta.clone()).unwrap_or_default(),
        round_trip: None::<Duration>,
    })
}

/// Whether `name` could be a node's: a DNS subdomain, loosely.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}
