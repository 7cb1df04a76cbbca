//! Spreads out what can wait: plans that only say something, where thousands would say the same at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{ObjectKey, Timestamp};

/// Plans that may be carried out at once after a quiet time (the burst that kube-scheduler's client allows itself).
pub const BURST: u32 = 100;
/// Time between two plans after that: 50 in a second, as kube-scheduler's client.
pub const EVERY: Duration = Duration::from_millis(20);

/// Gives each key its turn. Holds at most one entry for a key, which waits for its turn in a queue.
#[derive(Debug, Default)]
pub struct Pace {
    /// When all turns given so far would be over, were there no burst.
    spent: Timestamp,
    turns: BTreeMap<ObjectKey, Timestamp>,
}

impl Pace {
    /// How long `key` must wait; zero where it is its turn, which is used up by that.
    pub fn wait(&mut self, key: &ObjectKey, now: Timestamp) -> Duration {
        let turn = self.turns.get(key).copied().unwrap_or_else(|| self.book(now));
        if turn <= now {
            self.turns.remove(key);
        } else {
            self.turns.insert(key.clone(), turn);
        }
        turn.since(now)
    }

    /// The key has nothing to say any more.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.turns.remove(key);
    }

    fn book(&mut self, now: Timestamp) -> Timestamp {
        self.spent = self.spent.max(now) + EVERY;
        now + self.spent.since(now + EVERY * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::resource::id;

    #[test]
    fn a_burst_passes_and_the_rest_gets_one_turn_each() {
        let (mut pace, now) = (Pace::default(), Timestamp(1_000_000_000));
        let key = |nth: u32| ObjectKey::new(id::PODS, "default", &format!("pod-{nth}"));
        let waits: Vec<Duration> = (0..BURST + 3).map(|nth| pace.wait(&key(nth), now)).collect();
        assert!(waits.iter().take(BURST as usize).all(Duration::is_zero));
        assert_eq!(waits[BURST as usize..], [EVERY, EVERY * 2, EVERY * 3]);
        // Asking again neither moves a turn nor takes another one.
        assert_eq!(pace.wait(&key(BURST), now), EVERY);
        assert_eq!(pace.wait(&key(BURST), now + EVERY), Duration::ZERO);
        assert_eq!(pace.wait(&key(BURST + 9), now), EVERY * 4);
        // After a quiet time there is a burst again.
        assert_eq!(pace.wait(&key(BURST), now + EVERY * (2 * BURST)), Duration::ZERO);
    }
}
