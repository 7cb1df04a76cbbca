//! What one replica holds that openraft does not know of: where to look for the end of it after a change of leaders.
//!
//! openraft halves the log to find what a replica has, and sends all that lies behind each half: a new leader sent tens of
//! megabytes that everybody had, and nothing new was committed meanwhile. A replica most likely has all that was there before
//! the term began, or nearly. So the link asks there first, with few entries, and what is found to be held is not sent:
//! the reader gives its last entry only, and the link says at once that it was taken.

use std::sync::Arc;

use parking_lot::Mutex;

use super::LogId;

/// Entries that are sent as they are, without a look whether they are held; also in a question, at most.
pub const FEW: u64 = 64;
/// How far before the begin of the term the questions are, one after the other, until one is answered with yes.
pub const BACK: [u64; 6] = [0, 32, 128, 512, 2048, 8192];

/// Shared by the reader and the link of one replica in one term.
#[derive(Default)]
pub struct Trail(Mutex<Known>);

#[derive(Clone, Copy, Default)]
enum Known {
    /// It was not asked yet.
    #[default]
    Nothing,
    /// It has this on its disk, and all before.
    Upto(LogId),
    /// It has nothing where it was asked.
    Elsewhere,
}

impl Trail {
    /// The only entry to read of those from `start` to before `end`; `None` where all are wanted.
    pub fn leap(&self, start: u64, end: u64) -> Option<u64> {
        if end.saturating_sub(start) <= FEW {
            return None;
        }
        match *self.0.lock() {
            Known::Nothing => Some(end - 1),
            Known::Upto(held) if held.index >= start => Some(held.index.min(end - 1)),
            Known::Upto(_) | Known::Elsewhere => None,
        }
    }

    /// Whether the replica has `entry` on its disk, and all before.
    pub fn holds(&self, entry: LogId) -> bool {
        matches!(*self.0.lock(), Known::Upto(held) if held >= entry)
    }

    /// Notes that it has this on its disk; nothing where it was asked in vain.
    pub fn found(&self, held: Option<LogId>) {
        *self.0.lock() = held.map_or(Known::Elsewhere, Known::Upto);
    }
}

/// The trail of the replica that openraft is about to read for: it makes the links to a replica, then a reader.
#[derive(Default)]
pub struct Next(Mutex<Option<(u64, Arc<Trail>)>>);

impl Next {
    /// For a link to replica `id`; the same for all links that are made before the next reader.
    pub fn of(&self, id: u64) -> Arc<Trail> {
        let mut next = self.0.lock();
        let trail = next.take().filter(|(known, _)| *known == id).map(|(_, trail)| trail).unwrap_or_default();
        *next = Some((id, trail.clone()));
        trail
    }

    /// For a reader. One that gets another replica's reads too little, which the link notices.
    pub fn take(&self) -> Option<Arc<Trail>> {
        self.0.lock().take().map(|(_, trail)| trail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogId {
        LogId::new(openraft::CommittedLeaderId::new(1, 1), index)
    }

    #[test]
    fn what_is_held_is_leapt_over_and_the_rest_is_read() {
        let trail = Trail::default();
        assert_eq!(trail.leap(10, 10 + FEW), None, "few are sent as they are");
        assert_eq!(trail.leap(10, 1000), Some(999), "the first question needs no entries");
        trail.found(Some(id(500)));
        assert_eq!((trail.leap(10, 1000), trail.leap(10, 400)), (Some(500), Some(399)));
        assert_eq!(trail.leap(501, 1000), None);
        assert!(trail.holds(id(500)) && !trail.holds(id(501)));
        trail.found(None);
        assert_eq!(trail.leap(10, 1000), None);
        assert!(!trail.holds(id(10)));
    }

    #[test]
    fn a_reader_gets_the_trail_of_the_links_that_were_made_before_it() {
        let next = Next::default();
        let links = [next.of(2), next.of(2)];
        let reader = next.take().unwrap();
        assert!(links.iter().all(|link| Arc::ptr_eq(link, &reader)));
        assert!(next.take().is_none());
        let other = next.of(2);
        assert!(!Arc::ptr_eq(&other, &reader) && !Arc::ptr_eq(&other, &next.of(3)));
    }
}
