//! Generations: which start of a node's process this is.

use crate::model::Timestamp;

/// Largest generation: with the counter of renewals it fits 64 bits.
pub const MAX_GENERATION: u64 = (1 << 47) - 1;

/// The generation of a start at `now`, after one that had `previous`: milliseconds since 1970, and always larger than
/// before, whatever the clock says. The caller keeps it on disk before it is used; a node that lost its disk still
/// gets a larger one where its clock did not go back.
pub fn next(previous: Option<u64>, now: Timestamp) -> u64 {
    let by_clock = u64::try_from(now.0 / 1_000).unwrap_or(0).max(1);
    previous.map_or(by_clock, |previous| by_clock.max(previous.saturating_add(1))).min(MAX_GENERATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_grow_even_where_the_clock_goes_back() {
        let first = next(None, Timestamp(5_000_000));
        assert_eq!(first, 5_000);
        assert_eq!(next(Some(first), Timestamp(9_000_000)), 9_000);
        assert_eq!(next(Some(9_000), Timestamp(1_000_000)), 9_001);
        assert_eq!(next(Some(9_000), Timestamp(-7)), 9_001);
        assert_eq!(next(Some(u64::MAX), Timestamp(1)), MAX_GENERATION);
    }
}
