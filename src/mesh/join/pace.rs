//! How often one address may ask to join: a bucket of tokens per address, without I/O.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Requests at once from one address: a rack behind one translator, started together.
const BURST: u32 = 32;
/// Then one per this time.
const REFILL: Duration = Duration::from_millis(500);
/// Addresses that are remembered; where more ask within a bucket's time to fill up, new ones are turned away.
const MAX_ADDRESSES: usize = 4_096;

/// The buckets. An address that is not in the table has a full one.
#[derive(Debug, Default)]
pub struct Pace {
    /// When each bucket is full again.
    full_at: BTreeMap<IpAddr, Instant>,
}

impl Pace {
    /// Whether `address` may ask at `now`; counts it where it may.
    pub fn take(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.full_at.len() >= MAX_ADDRESSES {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let known = self.full_at.get(&address).copied();
        if known.is_none() && self.full_at.len() >= MAX_ADDRESSES {
            return false;
        }
        let full_at = known.filter(|full_at| *full_at > now).unwrap_or(now) + REFILL;
        if full_at.saturating_duration_since(now) > REFILL * BURST {
            return false;
        }
        self.full_at.insert(address, full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_gets_its_burst_then_its_pace_and_others_are_not_held_up() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let granted = (0..100).filter(|_| pace.take(start, one)).count();
        assert_eq!(granted, BURST as usize);
        assert!(pace.take(start, other));
        let later = start + REFILL * 3;
        assert_eq!((0..100).filter(|_| pace.take(later, one)).count(), 3);
        assert_eq!((0..100).filter(|_| pace.take(later + REFILL * 1000, one)).count(), BURST as usize);
    }

    #[tokio::test]
    async fn the_table_is_bounded_and_forgets_those_that_are_full_again() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for number in 0..MAX_ADDRESSES as u32 {
            assert!(pace.take(start, IpAddr::V4(number.into())));
        }
        assert!(!pace.take(start, [200, 0, 0, 1].into()));
        assert!(pace.take(start, IpAddr::V4(0.into())), "a known one still may");
        assert!(pace.take(start + REFILL * 2, [200, 0, 0, 1].into()));
        assert_eq!(pace.full_at.len(), 1);
    }
}
