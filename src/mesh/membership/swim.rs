//! What foca is given: identities, a codec, rumours about what members tell, and a place for its effects.
//!
//! foca owns what it holds, so what it and the core both need is in [`Shared`]. The lock is never held while foca runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut};
use foca::{
    BroadcastHandler, Codec, Header, Identity, Invalidates, Member, Message, Notification, Runtime, State, Timer,
};
use parking_lot::Mutex;

use super::roster::{ME, Roster, Standing, number_of};
use super::settings::{MAX_AHEAD, MAX_NAME};
use super::wire::{Malformed, read_item};
use crate::mesh::mutant::mutant;
use crate::model::Timestamp;

/// A member to foca. The same name with a larger number replaces the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub slot: u32,
    pub number: u64,
}

impl Identity for Id {
    type Addr = u32;

    fn renew(&self) -> Option<Self> {
        Some(Self { number: self.number.saturating_add(1), ..*self })
    }

    fn addr(&self) -> u32 {
        self.slot
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.number > adversary.number && !mutant("revive-tombstone")
    }
}

/// What foca's parts and the core share.
pub(super) struct Shared {
    pub roster: Roster,
    /// This node's time at the present input.
    pub now: Timestamp,
    /// Something changed that the view shows.
    pub changed: bool,
    /// Somebody named this node with this larger number.
    pub claimed: u64,
    /// Members that said goodbye, foca to be told.
    pub gone: Vec<Id>,
    /// Who sent the datagram that is being read.
    pub sender: u32,
    /// Suspicions about this node that were answered.
    pub refuted: u32,
}

impl Shared {
    /// Whether a number could be true: no further ahead than a day.
    pub(super) fn is_credible(&self, number: u64) -> bool {
        let latest = (self.now + MAX_AHEAD).0 / 1_000;
        number < number_of(u64::try_from(latest).unwrap_or(0))
    }

    /// How another's news of a member's state are to be taken.
    fn weighed(&mut self, id: Id, state: State) -> State {
        if state != State::Down || id.slot == self.sender {
            return state;
        }
        self.roster.doubt(id.slot, id.number, false);
        let weighed = self.roster.get(id.slot).map(|record| record.weighed(id.number, Standing::Down, self.now));
        if weighed == Some(Standing::Suspect) { State::Suspect } else { state }
    }

    fn note(&mut self, member: &Member<Id>) {
        let Id { slot, number } = *member.id();
        let now = self.now;
        self.changed |= self.roster.note(slot, number, member.incarnation(), standing(member.state()), now);
    }
}

fn standing(state: State) -> Standing {
    match state {
        State::Alive => Standing::Alive,
        State::Suspect => Standing::Suspect,
        State::Down => Standing::Down,
    }
}

/// Writes and reads foca's datagrams; every change that foca makes passes through here, because it passes it on.
#[derive(Clone)]
pub(super) struct Wire(pub Arc<Mutex<Shared>>);

impl Codec<Id> for Wire {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Id>, mut out: impl BufMut) -> Result<(), Malformed> {
        let mut shared = self.0.lock();
        if let Some(me) = shared.roster.get_mut(ME) {
            (me.number, me.incarnation) = (header.src.number, header.src_incarnation);
        }
        put_id(&shared.roster, header.src, &mut out)?;
        put_id(&shared.roster, header.dst, &mut out)?;
        if out.remaining_mut() < 3 {
            return Err(Malformed);
        }
        out.put_u16(header.src_incarnation);
        out.put_u8(match header.message {
            Message::Gossip => 0,
            Message::Broadcast => 1,
            Message::TurnUndead => 2,
            // The rest of foca's protocol is not used, see the parent module.
            _ => return Err(Malformed),
        });
        Ok(())
    }

    fn decode_header(&mut self, mut bytes: impl Buf) -> Result<Header<Id>, Malformed> {
        let mut shared = self.0.lock();
        let src = get_id(&mut shared, &mut bytes)?;
        let dst = get_id(&mut shared, &mut bytes)?;
        if src.slot != shared.sender || bytes.remaining() < 3 {
            return Err(Malformed);
        }
        let now = shared.now;
        shared.roster.hear(src.slot, src.number, now);
        let src_incarnation = bytes.get_u16();
        let message = match bytes.get_u8() {
            0 => Message::Gossip,
            1 => Message::Broadcast,
            2 => Message::TurnUndead,
            _ => return Err(Malformed),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Id>, mut out: impl BufMut) -> Result<(), Malformed> {
        let mut shared = self.0.lock();
        shared.note(member);
        put_id(&shared.roster, *member.id(), &mut out)?;
        if out.remaining_mut() < 3 {
            return Err(Malformed);
        }
        out.put_u16(member.incarnation());
        out.put_u8(standing(member.state()) as u8);
        Ok(())
    }

    fn decode_member(&mut self, mut bytes: impl Buf) -> Result<Member<Id>, Malformed> {
        let mut shared = self.0.lock();
        let id = get_id(&mut shared, &mut bytes)?;
        if bytes.remaining() < 3 {
            return Err(Malformed);
        }
        let incarnation = bytes.get_u16();
        let state = match bytes.get_u8() {
            1 => State::Alive,
            2 => State::Suspect,
            3 => State::Down,
            _ => return Err(Malformed),
        };
        if id.slot == ME {
            return Ok(shared.about_me(id, incarnation, state));
        }
        Ok(Member::new(id, incarnation, shared.weighed(id, state)))
    }
}

impl Shared {
    /// News about this node itself.
    fn about_me(&mut self, id: Id, incarnation: u16, state: State) -> Member<Id> {
        let Some(me) = self.roster.get(ME) else { return Member::new(id, incarnation, state) };
        if id.number > me.number {
            self.claimed = self.claimed.max(id.number);
        } else if id.number == me.number && state == State::Suspect {
            if mutant("forget-refute") {
                return Member::new(id, incarnation, State::Alive);
            }
            self.refuted += u32::from(incarnation >= me.incarnation);
        }
        Member::new(id, incarnation, state)
    }
}

fn put_id(roster: &Roster, id: Id, out: &mut impl BufMut) -> Result<(), Malformed> {
    let name = roster.name(id.slot).ok_or(Malformed)?.0.as_bytes();
    if out.remaining_mut() < name.len() + 9 {
        return Err(Malformed);
    }
    out.put_u8(u8::try_from(name.len()).map_err(|_| Malformed)?);
    out.put_slice(name);
    out.put_u64(id.number);
    Ok(())
}

fn get_id(shared: &mut Shared, bytes: &mut impl Buf) -> Result<Id, Malformed> {
    let mut room = [0; MAX_NAME];
    let length = if bytes.has_remaining() { usize::from(bytes.get_u8()) } else { 0 };
    let name = room.get_mut(..length).ok_or(Malformed)?;
    if bytes.remaining() < length + 8 {
        return Err(Malformed);
    }
    bytes.copy_to_slice(name);
    let number = bytes.get_u64();
    if !shared.is_credible(number) {
        return Err(Malformed);
    }
    let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
    let slot = shared.roster.intern(name).map_err(|_| Malformed)?;
    Ok(Id { slot, number })
}

/// Rumours of what members tell; a later one about the same member replaces an earlier.
pub(super) struct Rumours(pub Arc<Mutex<Shared>>);

/// Whom a rumour is about.
pub(super) struct About(u32);

impl Invalidates for About {
    fn invalidates(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl BroadcastHandler<Id> for Rumours {
    type Key = About;
    type Error = Malformed;

    fn receive_item(&mut self, bytes: &[u8], sender: Option<&Id>) -> Result<Option<About>, Malformed> {
        let item = read_item(bytes)?;
        let mut shared = self.0.lock();
        if !shared.is_credible(item.number) {
            return Err(Malformed);
        }
        let slot = shared.roster.intern(item.name).map_err(|_| Malformed)?;
        if sender.is_none() {
            return Ok(Some(About(slot)));
        }
        let Some(told) = item.told else { return Ok(None) };
        let left = told.left;
        if !shared.roster.learn(slot, told.into()) {
            return Ok(None);
        }
        if left {
            shared.gone.push(Id { slot, number: item.number });
        }
        shared.changed = true;
        Ok(Some(About(slot)))
    }
}

/// Where foca puts its effects during one call.
#[derive(Default)]
pub(super) struct Outbox {
    pub sends: Vec<(Id, Vec<u8>)>,
    pub timers: Vec<(Timer<Id>, Duration)>,
}

impl Runtime<Id> for Outbox {
    fn notify(&mut self, _: Notification<'_, Id>) {}

    fn send_to(&mut self, to: Id, bytes: &[u8]) {
        self.sends.push((to, bytes.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<Id>, after: Duration) {
        // Probing is the detector's; foca's probe timer is left to lapse.
        if matches!(timer, Timer::PeriodicGossip(_) | Timer::RemoveDown(_)) {
            self.timers.push((timer, after));
        }
    }
}

/// A fast generator for sampling (splitmix64); nothing secret depends on it.
#[derive(Clone)]
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero where that is zero.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(bound)) >> 32).unwrap_or(0)
    }

    /// `duration`, up to a quarter more or less.
    pub(super) fn about(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(0.75 + f64::from(self.below(1 << 16)) / f64::from(1 << 17))
    }
}

impl rand_core::TryRng for Dice {
    type Error = rand_core::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}
