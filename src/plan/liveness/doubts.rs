//! What gossip suspects: since when each node is silent, and whom planners are told not to send anybody to.
//!
//! A suspicion is shown at once and taken back at once, but its refutation only so often: a node that flaps is left
//! without new connections rather than written about again and again.
//!
//! Times are durations since some fixed moment, by a clock that only goes forward.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Refutations of one node's suspicion that are shown within [`WINDOW`]; a further one waits. So planners are told at
/// most twice as many changes of a node in that time, and one more.
pub const REFUTATIONS: usize = 3;
/// See [`REFUTATIONS`].
pub const WINDOW: Duration = Duration::from_mins(1);

/// What gossip says of one node now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// It does not answer.
    pub doubted: bool,
    /// It was declared dead already: it says nothing about how well this node hears the others.
    pub declared: bool,
}

/// The memory of suspicions. Holds one entry for each node that is, or lately was, doubted.
#[derive(Debug, Default)]
pub struct Doubts {
    nodes: BTreeMap<String, Doubt>,
}

#[derive(Debug, Default)]
struct Doubt {
    /// Silent since, while it is doubted.
    since: Option<Duration>,
    /// Planners are told.
    shown: bool,
    /// When refutations were shown, the newest last; at most [`REFUTATIONS`].
    refuted: VecDeque<Duration>,
}

impl Doubts {
    /// Takes in what gossip says of every node at `now`.
    pub fn look(&mut self, reports: &BTreeMap<String, Report>, now: Duration) {
        let trusted = !is_deaf(reports);
        for (name, report) in reports.iter().filter(|(_, report)| report.doubted) {
            let doubt = self.nodes.entry(name.clone()).or_default();
            doubt.since = doubt.since.or(Some(now));
            // Who was shown when this node still trusted itself stays shown.
            doubt.shown |= trusted || report.declared;
        }
        for (name, doubt) in &mut self.nodes {
            if !reports.get(name).is_some_and(|report| report.doubted) {
                doubt.refute(now);
            }
        }
        self.nodes.retain(|_, doubt| doubt.since.is_some() || doubt.shown || !doubt.refuted.is_empty());
    }

    /// Since when a node is silent; `None` where it is not.
    pub fn silent_since(&self, node: &str) -> Option<Duration> {
        self.nodes.get(node).and_then(|doubt| doubt.since)
    }

    /// The node was declared dead: should it write that it is not, while gossip still says so, its silence counts anew.
    pub fn declared(&mut self, node: &str, now: Duration) {
        if let Some(since) = self.nodes.get_mut(node).and_then(|doubt| doubt.since.as_mut()) {
            *since = now;
        }
    }

    /// Whom planners are told of.
    pub fn shown(&self) -> BTreeSet<String> {
        self.nodes.iter().filter(|(_, doubt)| doubt.shown).map(|(name, _)| name.clone()).collect()
    }

    /// Whether anything here changes by time alone.
    pub fn is_calm(&self) -> bool {
        self.nodes.values().all(|doubt| doubt.since.is_none() && !doubt.shown)
    }
}

impl Doubt {
    fn refute(&mut self, now: Duration) {
        self.since = None;
        while self.refuted.front().is_some_and(|at| now.saturating_sub(*at) >= WINDOW) {
            self.refuted.pop_front();
        }
        if self.shown && self.refuted.len() < REFUTATIONS {
            self.shown = false;
            self.refuted.push_back(now);
        }
    }
}

/// Whether this node hears so few that it may be the one that is cut off: more than half of all that are not declared
/// dead.
fn is_deaf(reports: &BTreeMap<String, Report>) -> bool {
    let known = reports.values().filter(|report| !report.declared);
    let (all, doubted) = known.fold((0, 0), |(all, doubted), report| (all + 1, doubted + usize::from(report.doubted)));
    doubted * 2 > all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays looks (milliseconds, and the names that are doubted; in capitals: and declared) among `a`, `b` and `c`;
    /// gives whom planners are told of after each.
    fn check(looks: &[(u64, &str, &str)]) -> Doubts {
        let mut doubts = Doubts::default();
        for (at_ms, doubted, expect) in looks {
            let report = |name: char| {
                let declared = doubted.contains(name.to_ascii_uppercase());
                (name.to_string(), Report { doubted: declared || doubted.contains(name), declared })
            };
            doubts.look(&"abc".chars().map(report).collect(), Duration::from_millis(*at_ms));
            assert_eq!(doubts.shown().into_iter().collect::<String>(), *expect, "at {at_ms} ms, {doubted:?} doubted");
        }
        doubts
    }

    #[test]
    fn a_suspicion_is_shown_at_once_and_taken_back_at_once() {
        let doubts = check(&[(0, "", ""), (10, "b", "b"), (20, "b", "b"), (30, "", "")]);
        assert!(doubts.is_calm() && doubts.silent_since("b").is_none());
    }

    #[test]
    fn silence_counts_from_the_first_doubt_and_anew_after_a_declaration() {
        let mut doubts = check(&[(10, "b", "b"), (3_000, "b", "b")]);
        assert_eq!(doubts.silent_since("b"), Some(Duration::from_millis(10)));
        doubts.declared("b", Duration::from_millis(3_010));
        assert_eq!(doubts.silent_since("b"), Some(Duration::from_millis(3_010)));
        let doubts = check(&[(10, "b", "b"), (20, "", ""), (30, "b", "b")]);
        assert_eq!(doubts.silent_since("b"), Some(Duration::from_millis(30)));
    }

    #[test]
    fn a_node_that_hears_almost_nobody_withdraws_nobody() {
        check(&[(0, "bc", ""), (10, "c", "c"), (20, "bc", "c"), (30, "Bc", "bc"), (40, "", "")]);
    }

    #[test]
    fn a_flapping_suspicion_is_told_of_so_often_and_then_kept() {
        let mut doubts = Doubts::default();
        let mut changes = Vec::new();
        let mut shown = BTreeSet::new();
        for at in 0..6_000_u64 {
            let report = Report { doubted: at % 10 < 5, declared: false };
            let others = Report { doubted: false, declared: false };
            let reports = [("a", others), ("b", report), ("c", others)].map(|(name, one)| (name.to_owned(), one));
            let now = Duration::from_millis(at * 100);
            doubts.look(&reports.into(), now);
            if doubts.shown() != shown {
                shown = doubts.shown();
                changes.push(now);
            }
        }
        let most = 2 * REFUTATIONS + 1;
        for (nth, from) in changes.iter().enumerate() {
            let within = changes[nth..].iter().take_while(|at| **at < *from + WINDOW).count();
            assert!(within <= most, "{within} changes within a minute from {from:?}");
        }
        assert!(changes.len() > 40, "it goes on for ten minutes: {}", changes.len());
        doubts.look(&BTreeMap::new(), Duration::from_mins(12));
        assert!(doubts.is_calm(), "and ends with the suspicions");
    }
}
