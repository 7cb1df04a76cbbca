//! Supervision as a table: each child of a node, and what its failure means.
//!
//! ractor stops a parent when a child fails and restarts nothing by itself; [`super::supervisor`] follows this table
//! instead.

use std::time::Duration;

/// What a child's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Start it again in place, waiting longer each time, from `first` up to `most`. A child that has run for `most`
    /// is forgiven its past.
    Restart {
        /// Wait after the first failure.
        first: Duration,
        /// Longest wait.
        most: Duration,
    },
    /// The node cannot go on: the process ends, containers stay, the next start adopts them.
    EndNode,
}

const SOON: OnFailure = OnFailure::Restart { first: Duration::from_millis(100), most: Duration::from_secs(10) };

/// Every child of a node by name. A name with `*` stands for one child for each of many (controllers, pods).
pub const TREE: &[(&str, OnFailure)] = &[
    ("replica", OnFailure::EndNode),
    ("mirror", SOON),
    ("api", SOON),
    ("identity", SOON),
    ("toolbox", SOON),
    ("control", SOON),
    ("control/*", SOON),
    ("keeper", SOON),
    ("mesh", OnFailure::EndNode),
    ("liveness", SOON),
    ("neighbours", SOON),
    ("standing", SOON),
    ("remember", SOON),
    ("rejoin", SOON),
    ("backups", SOON),
    ("load", SOON),
    ("relief", SOON),
    ("agent", SOON),
    ("agent/*", SOON),
];

/// The row for a child: its own, or that of its kind.
pub fn policy(child: &str) -> OnFailure {
    let kind = child.split_once('/').map(|(kind, _)| format!("{kind}/*"));
    TREE.iter()
        .find(|(name, _)| *name == child || kind.as_deref() == Some(*name))
        .map_or(OnFailure::EndNode, |(_, policy)| *policy)
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start the child again after this long.
    RestartAfter(Duration),
    /// End the node.
    End,
}

/// How often a child has failed of late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    failures: u32,
}

impl History {
    /// Notes a failure of a child that had run for `ran`, and says what follows.
    pub fn failed(&mut self, policy: OnFailure, ran: Duration) -> Verdict {
        let OnFailure::Restart { first, most } = policy else { return Verdict::End };
        if ran >= most {
            self.failures = 0;
        }
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        Verdict::RestartAfter(wait)
    }

    /// Failures since the child last ran for long.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_child_has_a_row_and_a_stranger_ends_the_node() {
        assert_eq!(policy("control/deployment"), SOON);
        for child in ["relief", "keeper", "control", "liveness", "backups", "rejoin", "load"] {
            assert_eq!(policy(child), SOON, "{child}");
        }
        assert_eq!(policy("replica"), OnFailure::EndNode);
        assert_eq!(policy("stranger"), OnFailure::EndNode);
    }

    #[test]
    fn waits_double_up_to_the_bound_and_start_over_after_a_long_run() {
        let mut history = History::default();
        let waits: Vec<_> = (0..9).map(|_| history.failed(SOON, Duration::ZERO)).collect();
        assert_eq!(waits[0], Verdict::RestartAfter(Duration::from_millis(100)));
        assert_eq!(waits[1], Verdict::RestartAfter(Duration::from_millis(200)));
        assert_eq!(waits[8], Verdict::RestartAfter(Duration::from_secs(10)));
        let after_long_run = history.failed(SOON, Duration::from_secs(11));
        assert_eq!(after_long_run, Verdict::RestartAfter(Duration::from_millis(100)));
    }
}
