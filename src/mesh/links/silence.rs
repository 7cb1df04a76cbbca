//! When a connection counts as silent: something is sent, and nothing comes, not even QUIC's own acknowledgements.

use std::time::Duration;

use tokio::time::Instant;

/// Nothing may come for this long after something was sent. Acknowledgements take a round trip and 25 ms.
pub const SILENT_FOR: Duration = Duration::from_millis(900);
/// A silent connection is told again after this time.
pub const TOLD_AGAIN: Duration = Duration::from_secs(4);

/// What was seen of one connection.
#[derive(Debug, Default)]
pub struct Silence {
    sent: u64,
    received: u64,
    /// When packets without any answer were first seen.
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Silence {
    /// Looks at the packets sent and received until now; whether the connection is silent and that was not told of
    /// late.
    pub fn look(&mut self, (sent, received): (u64, u64), now: Instant) -> bool {
        if received != self.received {
            (self.sent, self.received, self.since) = (sent, received, None);
        }
        if sent == self.sent {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let told = self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_AGAIN);
        if told || now.saturating_duration_since(since) < SILENT_FOR {
            return false;
        }
        self.told = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_unanswered_packets_make_silence() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let mut look = |second: u32, packets| silence.look(packets, start + SECOND * second);
        assert!(!look(0, (10, 10)));
        assert!(!look(60, (10, 10)), "an idle connection is not silent");
        assert!(!look(61, (11, 10)), "the answer may be under way");
        assert!(!look(62, (11, 11)), "it came");
        assert!(!look(63, (12, 11)));
        assert!(look(64, (14, 11)));
        assert!(!look(65, (15, 11)), "it was told");
        assert!(look(68, (15, 11)), "and is told again");
        assert!(!look(69, (16, 12)), "the peer is back");
        assert!(!look(70, (17, 12)));
    }
}
