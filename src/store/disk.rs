//! Whether a leader's disk is too slow for it to lead, and who should lead instead. Pure.

use std::time::Duration;

/// A voter that could lead instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub raft_id: u64,
    /// Entries of the leader's log that it is not known to hold.
    pub lag: u64,
    /// The 99th percentile of its syncs of late.
    pub sync_p99: Duration,
}

/// Whether a leader whose syncs of late have this 99th percentile should hand over.
pub fn is_slow(sync_p99: Duration, bound: Duration) -> bool {
    sync_p99 > bound
}

/// Who leads best: one whose disk is healthy, of those the one whose log is the most complete, of those the fastest. With
/// `only_healthy` nobody where no disk is. Healthy is at most half of `bound`, so that two disks at the bound do not pass
/// the lead back and forth.
pub fn successor(candidates: &[Candidate], bound: Duration, only_healthy: bool) -> Option<u64> {
    let sick = |candidate: &Candidate| is_slow(candidate.sync_p99, bound / 2);
    let able = candidates.iter().filter(|candidate| !only_healthy || !sick(candidate));
    let best = able.min_by_key(|candidate| (sick(candidate), candidate.lag, candidate.sync_p99, candidate.raft_id));
    best.map(|candidate| candidate.raft_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(candidates: &[(u64, u64, u64)], only_healthy: bool, expect: Option<u64>) {
        let candidate = |(raft_id, lag, millis): &(u64, u64, u64)| Candidate {
            raft_id: *raft_id,
            lag: *lag,
            sync_p99: Duration::from_millis(*millis),
        };
        let candidates: Vec<Candidate> = candidates.iter().map(candidate).collect();
        assert_eq!(successor(&candidates, Duration::from_millis(500), only_healthy), expect, "{candidates:?}");
    }

    #[test]
    fn the_healthy_come_first_then_the_complete_then_the_fast() {
        check(&[], false, None);
        check(&[(2, 0, 900), (3, 50, 100)], true, Some(3));
        check(&[(2, 7, 10), (3, 0, 100)], true, Some(3));
        check(&[(2, 0, 20), (3, 0, 10)], true, Some(3));
        check(&[(2, 0, 251), (3, 0, 300)], true, None);
        check(&[(2, 0, 900), (3, 0, 300)], false, Some(3));
        assert!(!is_slow(Duration::from_millis(500), Duration::from_millis(500)));
        assert!(is_slow(Duration::from_millis(501), Duration::from_millis(500)));
    }
}
