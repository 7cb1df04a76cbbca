//! What goes wrong, from the seed: weather, cuts, crashes, stops, clocks, leaves, revocations, and strangers who join.
//!
//! `act` carries one fault out; `undo` takes it back when its time has come, or all of them at once: healing.

mod act;
mod undo;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::fleet::Fleet;
use super::fleet::join::Request;
use super::net::Slot;
use super::time::At;
use crate::world::entropy::Rng;

/// Loss beyond which the mesh promises nothing.
pub const FAIR_LOSS: f64 = 0.20;
/// How dense storms are: in a thin one there is time to tell who is to blame.
const PACES: [u32; 3] = [1, 3, 6];
/// Clocks within this of the truth are sound.
pub const CLOCK_BOUND: Duration = Duration::from_secs(2);

/// What will be taken back, or done later.
#[derive(Debug, Clone)]
enum Later {
    /// The weather is calm again.
    Calm,
    /// These paths are open again.
    Open(Vec<(Slot, Slot)>),
    /// The process starts again, perhaps at another address.
    Start { slot: Slot, moves: bool },
    /// A stopped process goes on.
    Continue(Slot),
    /// A starved process runs as it should.
    Feed(Slot),
    /// A clock is right again.
    SetClock(Slot),
    /// A process that has said goodbye ends.
    Kill(Slot),
    /// A node is told whom to refuse.
    Tell { slot: Slot, revoked: Slot },
    /// A stranger asks to be let in, again until it is.
    Join { slot: Slot, request: Request, tries: u32 },
}

/// The faults of a run.
pub struct Storm {
    rng: Rng,
    /// Machines of the cluster under test: these many, from 0.
    nodes: usize,
    /// A machine that is let in with no token.
    intruder: Slot,
    next: At,
    /// How many times slower than the fastest storm faults come.
    pace: u32,
    sequence: u64,
    later: BTreeMap<(At, u64), Later>,
    moves: u64,
    revoked: Option<Slot>,
    strikes: u32,
    over: bool,
}

impl Storm {
    /// A storm over the first `nodes` machines.
    pub fn new(seed: u64, nodes: usize, intruder: Slot) -> Self {
        let mut rng = Rng::seed_from_u64(seed ^ 0x7374_6f72_6d);
        Self {
            pace: *PACES.choose(&mut rng).unwrap_or(&1),
            rng,
            nodes,
            intruder,
            next: Duration::from_secs(4),
            sequence: 0,
            later: BTreeMap::new(),
            moves: 0,
            revoked: None,
            strikes: 0,
            over: false,
        }
    }

    /// The others join the first: most at once, some in the storm. The second cluster is whole at once.
    pub fn invite(&mut self, fleet: &mut Fleet, minutes: u64) {
        let invited = |slot: &Slot| *slot != 0 && *slot != self.intruder;
        let slots: Vec<Slot> = fleet.sites.iter().map(|site| site.slot).filter(invited).collect();
        for slot in slots {
            let first = fleet.sites.get(slot).is_some_and(|site| site.cluster == 1 && slot == self.nodes);
            if first {
                continue;
            }
            let late = slot < self.nodes && slot > 2 && self.rng.random_bool(0.3);
            let after = if late { self.rng.random_range(10_000..minutes * 50_000) } else { 200 * slot as u64 };
            self.later(Duration::from_millis(after), Later::Join { slot, request: self.request(slot, 0), tries: 0 });
        }
        let after = self.rng.random_range(15_000..minutes * 60_000);
        let request = Request { token: 0, genuine: true, key: 99 };
        self.later(Duration::from_millis(after), Later::Join { slot: self.intruder, request, tries: 0 });
    }

    /// What goes wrong and what is mended between two slices of time.
    pub fn act(&mut self, fleet: &mut Fleet) -> Result<(), String> {
        let at = fleet.hand.at();
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= at) {
            let later = first.remove();
            self.undo(fleet, later)?;
        }
        if !self.over && at >= self.next {
            self.next = at + Duration::from_millis(self.rng.random_range(300..6_000)) * self.pace;
            self.strike(fleet);
        }
        Ok(())
    }

    /// Everything is mended now.
    pub fn heal(&mut self, fleet: &mut Fleet) -> Result<(), String> {
        self.over = true;
        for later in std::mem::take(&mut self.later).into_values() {
            self.undo(fleet, later)?;
        }
        fleet.net.sky(super::net::weather::Sky::heal);
        let at = fleet.hand.at();
        let mut history = fleet.shared.history.lock();
        history.harsh.iter_mut().filter(|span| span.to.is_none()).for_each(|span| span.to = Some(at));
        history.cuts.iter_mut().filter(|(_, span)| span.to.is_none()).for_each(|(_, span)| span.to = Some(at));
        history.end.healed = at;
        fleet.shared.trace.note("everything heals");
        Ok(())
    }

    fn later(&mut self, at: At, later: Later) {
        self.sequence += 1;
        self.later.insert((at, self.sequence), later);
    }

    fn request(&self, slot: Slot, token: u64) -> Request {
        Request { token, genuine: true, key: slot as u64 + 1 }
    }

    fn some(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least_ms..=most_ms))
    }
}
