//! Times and sizes of the membership protocol, and how they follow the size of the cluster.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};

/// Largest datagram of gossip in bytes: fits QUIC's smallest packet (1,200 bytes) beside its header and seal.
pub const MAX_DATAGRAM: usize = 1_150;
/// Most members that are remembered, tombstones included; names beyond are refused.
pub const MAX_MEMBERS: usize = 16_384;
/// Longest name of a node, in bytes (a DNS subdomain).
pub const MAX_NAME: usize = 253;
/// Most seeds and remembered peers that are tried.
pub const MAX_SEEDS: usize = 64;
/// Worst score of local health (Lifeguard's `S`).
pub const MAX_HEALTH: u32 = 8;
/// A generation further ahead of this node's clock than this is not believed.
pub const MAX_AHEAD: Duration = Duration::from_hours(24);
/// A timer this much late means that this node was paused or starved: its own time stood still.
pub const LATE: Duration = Duration::from_millis(100);

/// What can be set. The defaults are for one site (round trips up to about 30 ms) and were chosen with
/// `benches/gossip.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often this node asks some member whether it lives.
    pub probe_period: Duration,
    /// How long an answer is waited for before the question is repeated; the third time through others as well.
    pub probe_again: Duration,
    /// How many others are asked to ask.
    pub relays: usize,
    /// How long a member is asked in silence before everybody is told that it is suspect.
    pub suspect_after: Duration,
    /// How often a suspect is asked.
    pub suspect_again: Duration,
    /// How long a member must have been silent, since the first question, to be declared dead, in a cluster of one.
    pub dead_after: Duration,
    /// Added to [`Settings::dead_after`] for every tenfold of members.
    pub dead_after_decade: Duration,
    /// How much longer a declaration is withheld while this node hears less than half of those it asks: it may be the
    /// one that is cut off.
    pub withhold: Duration,
    /// How often news are passed on, while there are any.
    pub gossip_period: Duration,
    /// To how many at a time.
    pub gossip_fanout: usize,
    /// How often what this node knows is compared with what some other member knows.
    pub sync_period: Duration,
    /// How often a dead member is asked whether it is back, so that the halves of a healed cut find each other.
    pub reach_period: Duration,
    /// Waits between tries of seeds before any has answered: the first; each is half as long again, up to
    /// [`Settings::seed_wait_max`].
    pub seed_wait: Duration,
    /// Longest wait between tries of seeds before any has answered.
    pub seed_wait_max: Duration,
    /// How often one seed is asked once others are known.
    pub seed_period: Duration,
    /// Shortest time between two news about this node's load; grows with the cluster (see [`Settings::load_period`]).
    pub load_period: Duration,
    /// How long the dead are remembered.
    pub remember_dead: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(150),
            probe_again: Duration::from_millis(60),
            relays: 3,
            suspect_after: Duration::from_millis(500),
            suspect_again: Duration::from_millis(50),
            dead_after: Duration::from_millis(1_200),
            dead_after_decade: Duration::from_millis(50),
            withhold: Duration::from_secs(10),
            gossip_period: Duration::from_millis(50),
            gossip_fanout: 4,
            sync_period: Duration::from_secs(1),
            reach_period: Duration::from_secs(1),
            seed_wait: Duration::from_millis(100),
            seed_wait_max: Duration::from_secs(2),
            seed_period: Duration::from_secs(30),
            load_period: Duration::from_secs(5),
            remember_dead: Duration::from_hours(24),
        }
    }
}

impl Settings {
    /// How long a member must be silent to be declared dead in a cluster of `members`, by a node in good health.
    pub fn dead_after(&self, members: usize) -> Duration {
        self.dead_after + self.dead_after_decade.mul_f64(decades(members))
    }

    /// How often a piece of news is sent by each node that has it: `6 log10(n + 1)`, at least 10. A member is missed
    /// by all with a probability of about `exp(-sent * (1 - loss))`: one in 800 at 10 and a third lost.
    pub fn transmissions(members: usize) -> u8 {
        (6.0 * decades(members)).ceil().clamp(10.0, 40.0) as u8
    }

    /// Shortest time between two news about a node's load: so long that the load of all costs a node about 4 KB/s
    /// (an item of 150 bytes, sent [`Settings::transmissions`] times by every node).
    pub fn load_period(&self, members: usize) -> Duration {
        let bytes = members as f64 * 150.0 * f64::from(Self::transmissions(members));
        self.load_period.max(Duration::from_secs_f64(bytes / 4_000.0))
    }

    /// The part that foca is told. Probing, suspicion and joining are not its (see [`super`]).
    pub(super) fn foca(&self, members: usize) -> Config {
        let some = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Config {
            num_indirect_probes: some(self.gossip_fanout),
            max_transmissions: NonZeroU8::new(Self::transmissions(members)).unwrap_or(NonZeroU8::MIN),
            remove_down_after: Some(self.remember_dead()),
            max_packet_size: some(MAX_DATAGRAM - 1),
            notify_down_members: true,
            periodic_gossip: Some(PeriodicParams {
                frequency: self.gossip_period,
                num_members: some(self.gossip_fanout),
            }),
            ..Config::simple()
        }
    }

    fn remember_dead(&self) -> Duration {
        if crate::mesh::mutant::mutant("revive-tombstone") { Duration::from_millis(200) } else { self.remember_dead }
    }
}

fn decades(members: usize) -> f64 {
    (members as f64 + 1.0).log10()
}
