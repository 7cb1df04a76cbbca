//! Doing a transaction once, however often it is asked for.
//!
//! Whoever takes a transaction from a client gives it a [`Ticket`], under which it is proposed again and again until an answer
//! comes: also to other leaders, also where the first proposal was committed and only its answer was lost. The state machine
//! remembers what became of each ticket for [`REMEMBERED`] revisions and answers a repeat with that. A ticket says how old
//! it is, in revisions: one that is so old that it may have been forgotten is refused, so that no message can be delayed long
//! enough to be done twice.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngCore;
use serde::{Deserialize, Serialize};

use super::mutant::mutant;
use super::mvcc::Refusal;
use crate::model::Revision;
use crate::world::entropy::Rng;

/// A transaction is remembered for so many revisions after its own: what a table of 32,768 slots holds, about 1.8 MB.
pub const REMEMBERED: u64 = 28_672;

/// What makes one transaction known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Drawn at random by each life of a store.
    pub session: u64,
    /// Counted within the session.
    pub sequence: u64,
    /// What its issuer had applied: whatever is done under the ticket has a greater revision.
    pub since: Revision,
}

impl Ticket {
    fn name(&self) -> Name {
        (self.session, self.sequence)
    }
}

/// Session and sequence.
type Name = (u64, u64);

/// Issues the tickets of one life of a store.
pub struct Tickets {
    session: u64,
    next: AtomicU64,
}

impl Tickets {
    /// A session of its own, drawn from `rng`.
    pub fn new(rng: &mut Rng) -> Self {
        Self { session: rng.next_u64(), next: AtomicU64::new(0) }
    }

    /// A ticket that nobody else gets, issued by who has applied `since`.
    pub fn issue(&self, since: Revision) -> Ticket {
        Ticket { session: self.session, sequence: self.next.fetch_add(1, Ordering::Relaxed), since }
    }
}

/// What became of one ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The entry that did it.
    pub revision: Revision,
    /// Session of its ticket.
    pub session: u64,
    /// Sequence of its ticket.
    pub sequence: u64,
    /// Why it changed nothing, where it did not. Apart, because it is rare.
    pub refusal: Option<Box<Refusal>>,
}

/// The tickets of the last [`REMEMBERED`] revisions; the same on every replica at the same revision.
#[derive(Debug, Default)]
pub struct Memory {
    /// By revision.
    done: VecDeque<Done>,
    /// Where in `done`: the revision. Never iterated.
    revisions: HashMap<Name, Revision>,
}

impl Memory {
    /// What an image holds, in order.
    pub fn from_image(done: &[Done]) -> Self {
        let revisions = done.iter().map(|done| ((done.session, done.sequence), done.revision)).collect();
        Self { done: done.iter().cloned().collect(), revisions }
    }

    /// All of it, by revision.
    pub fn image(&self) -> Vec<Done> {
        self.done.iter().cloned().collect()
    }

    /// What must be answered at entry `now` without doing anything; `None` where it is to be done.
    pub fn answer(&mut self, ticket: &Ticket, now: Revision) -> Option<Result<Revision, Refusal>> {
        self.forget(now);
        if mutant("apply-repeats") {
            return None;
        }
        if let Some(revision) = self.revisions.get(&ticket.name()) {
            let at = self.done.binary_search_by_key(revision, |done| done.revision).ok()?;
            let refusal = self.done.get(at)?.refusal.as_deref();
            return Some(refusal.map_or(Ok(*revision), |refusal| Err(refusal.clone())));
        }
        (ticket.since.0 + REMEMBERED < now.0).then_some(Err(Refusal::Forgotten))
    }

    /// Remembers what entry `now` made of `ticket`.
    pub fn note(&mut self, ticket: &Ticket, now: Revision, refusal: Option<&Refusal>) {
        let refusal = refusal.cloned().map(Box::new);
        self.revisions.insert(ticket.name(), now);
        self.done.push_back(Done { revision: now, session: ticket.session, sequence: ticket.sequence, refusal });
    }

    fn forget(&mut self, now: Revision) {
        while self.done.front().is_some_and(|done| done.revision.0 + REMEMBERED <= now.0) {
            let Some(done) = self.done.pop_front() else { return };
            self.revisions.remove(&(done.session, done.sequence));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(sequence: u64, since: u64) -> Ticket {
        Ticket { session: 7, sequence, since: Revision(since) }
    }

    #[test]
    fn a_repeat_gets_the_first_outcome_until_it_is_forgotten_and_is_then_refused() {
        let mut memory = Memory::default();
        assert_eq!(memory.answer(&ticket(1, 9), Revision(10)), None);
        memory.note(&ticket(1, 9), Revision(10), None);
        assert_eq!(memory.answer(&ticket(2, 9), Revision(11)), None);
        memory.note(&ticket(2, 9), Revision(11), Some(&Refusal::Fenced));
        for at in [12, 9 + REMEMBERED] {
            assert_eq!(memory.answer(&ticket(1, 9), Revision(at)), Some(Ok(Revision(10))));
            assert_eq!(memory.answer(&ticket(2, 9), Revision(at)), Some(Err(Refusal::Fenced)));
        }
        for at in [10 + REMEMBERED, 11 + REMEMBERED, u64::MAX] {
            assert_eq!(memory.answer(&ticket(1, 9), Revision(at)), Some(Err(Refusal::Forgotten)), "{at}");
        }
        assert_eq!(memory.answer(&ticket(3, 5 + REMEMBERED), Revision(11 + REMEMBERED)), None);
        assert!(memory.image().is_empty() && memory.revisions.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_same_after_an_image() {
        let mut memory = Memory::default();
        for at in 1..=REMEMBERED + 100 {
            assert_eq!(memory.answer(&ticket(at, at - 1), Revision(at)), None);
            memory.note(&ticket(at, at - 1), Revision(at), None);
        }
        let image = memory.image();
        assert_eq!((image.len() as u64, memory.revisions.len() as u64), (REMEMBERED, REMEMBERED));
        let mut again = Memory::from_image(&image);
        for sequence in [1, 100, 101, 5000, REMEMBERED + 100] {
            let ask = |memory: &mut Memory| memory.answer(&ticket(sequence, sequence - 1), Revision(REMEMBERED + 100));
            assert_eq!(ask(&mut memory), ask(&mut again), "{sequence}");
        }
    }
}
