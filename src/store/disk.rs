//! Whether a leader's disk lets it lead, and who should lead instead. Pure.

use std::time::Duration;

/// How a voter's disk is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It may lead.
    Well,
    /// Every write waits for it.
    Slow,
    /// It takes no writes: only what it has can be read and deleted.
    Full,
}

impl Health {
    /// Of a disk whose syncs of late have this 99th percentile, and that has room for more or not.
    pub fn of(sync_p99: Duration, full: bool, bound: Duration) -> Self {
        match (full, sync_p99 > bound) {
            (true, _) => Self::Full,
            (false, true) => Self::Slow,
            (false, false) => Self::Well,
        }
    }
}

/// A voter that could lead instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub raft_id: u64,
    /// Entries of the leader's log that it is not known to hold.
    pub lag: u64,
    /// The 99th percentile of its syncs of late.
    pub sync_p99: Duration,
    /// Whether it has no room for more.
    pub full: bool,
}

/// Who leads best: one whose disk is in better health than others', of those the one whose log is the most complete, of
/// those the fastest. With `than` nobody whose disk is not in better health than that. A candidate's disk is slow above
/// half of `bound`, so that two disks at the bound do not pass the lead back and forth.
pub fn successor(candidates: &[Candidate], bound: Duration, than: Option<Health>) -> Option<u64> {
    let health = |candidate: &Candidate| Health::of(candidate.sync_p99, candidate.full, bound / 2);
    let able = candidates.iter().filter(|candidate| than.is_none_or(|than| health(candidate) < than));
    let best = able.min_by_key(|candidate| (health(candidate), candidate.lag, candidate.sync_p99, candidate.raft_id));
    best.map(|candidate| candidate.raft_id)
}

/// Who should lead instead of one of `voters` whose disk is in this health. Nobody where most of them are known to have no
/// room, or not known to have some: under a full leader deletes go on, which make room; under another one every write would
/// wait for a majority that cannot take it.
pub fn relief(candidates: &[Candidate], voters: usize, bound: Duration, health: Health) -> Option<u64> {
    let roomy = candidates.iter().filter(|candidate| !candidate.full).count();
    let pointless = health == Health::Full && roomy < voters / 2 + 1;
    successor(candidates, bound, Some(health)).filter(|_| !pointless)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(500);

    fn candidates(all: &[(u64, u64, u64, bool)]) -> Vec<Candidate> {
        let candidate = |(raft_id, lag, millis, full): &(u64, u64, u64, bool)| Candidate {
            raft_id: *raft_id,
            lag: *lag,
            sync_p99: Duration::from_millis(*millis),
            full: *full,
        };
        all.iter().map(candidate).collect()
    }

    #[test]
    fn the_healthy_come_first_then_the_complete_then_the_fast() {
        let check = |all: &[(u64, u64, u64, bool)], than, expect| {
            assert_eq!(successor(&candidates(all), BOUND, than), expect, "{all:?}, better than {than:?}");
        };
        let slow = Some(Health::Slow);
        check(&[], None, None);
        check(&[(2, 0, 900, false), (3, 50, 100, false)], slow, Some(3));
        check(&[(2, 7, 10, false), (3, 0, 100, false)], slow, Some(3));
        check(&[(2, 0, 20, false), (3, 0, 10, false)], slow, Some(3));
        check(&[(2, 0, 251, false), (3, 0, 300, false)], slow, None);
        check(&[(2, 0, 900, false), (3, 0, 300, false)], None, Some(3));
        check(&[(2, 0, 1, true), (3, 0, 900, false)], slow, None);
        check(&[(2, 0, 1, true), (3, 0, 900, false)], None, Some(3));
        check(&[(2, 5, 1, true), (3, 0, 1, true)], None, Some(3));
    }

    #[test]
    fn a_full_leader_goes_where_a_majority_has_room() {
        let check = |all: &[(u64, u64, u64, bool)], voters, health, expect| {
            assert_eq!(relief(&candidates(all), voters, BOUND, health), expect, "{all:?} of {voters}, {health:?}");
        };
        let (slow, full) = (Health::Slow, Health::Full);
        check(&[(2, 9, 1, false), (3, 90, 10, false)], 3, full, Some(2));
        check(&[(2, 9, 900, false), (3, 0, 900, false)], 3, full, Some(3));
        check(&[(2, 0, 1, true), (3, 0, 1, false)], 3, full, None);
        check(&[(3, 0, 1, false)], 3, full, None);
        check(&[(3, 0, 1, false)], 3, slow, Some(3));
        check(&[(2, 0, 1, true), (3, 9, 1, false), (4, 0, 1, false), (5, 9, 1, false)], 5, full, Some(4));
        check(&[(2, 0, 1, true), (3, 9, 1, false), (4, 0, 1, false)], 5, full, None);
    }

    #[test]
    fn a_disk_without_room_is_full_however_fast() {
        let at = |millis, full| Health::of(Duration::from_millis(millis), full, BOUND);
        assert_eq!([at(500, false), at(501, false)], [Health::Well, Health::Slow]);
        assert_eq!([at(0, true), at(900, true)], [Health::Full, Health::Full]);
    }
}
