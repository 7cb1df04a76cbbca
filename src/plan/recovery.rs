//! Who may rebuild a cluster whose quorum is lost, and what is kept then: a decision from what every replica said.

use std::collections::BTreeMap;

use super::Command;
use crate::kube::object::Object;

/// How recent a log is; the greater one has all that the lesser one's cluster ever acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LogEnd {
    /// How often the cluster was recovered.
    pub recovery: u64,
    /// Term of the last entry.
    pub term: u64,
    /// Number of the last entry, which is its revision.
    pub index: u64,
}

/// What a replica said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Where its log ends.
    pub end: LogEnd,
    /// The newest term it knows.
    pub newest_term: u64,
    /// Whether it leads, confirmed by a majority.
    pub leads: bool,
}

/// A replica of the last known membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub raft_id: u64,
    /// Its node.
    pub node: String,
    /// Whether it votes.
    pub votes: bool,
    /// What it said; `None` where it was not reached.
    pub said: Option<Said>,
}

/// What a node knows before it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// This node's replica; always reached.
    pub own: Said,
    /// Its number.
    pub raft_id: u64,
    /// Its node.
    pub node: String,
    /// Whether it votes; `None` where the membership does not have it.
    pub votes: Option<bool>,
    /// The others of the last known membership.
    pub others: Vec<Member>,
    /// A node that says that the cluster has gone on without this one.
    pub removed_by: Option<String>,
}

/// Why a node may not rebuild the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was never let in.
    #[error("this node's replica belongs to no cluster yet")]
    Stranger,
    /// It is not of the cluster any more.
    #[error("the cluster has gone on without this node, as {by} says: it will rejoin by itself")]
    Removed {
        /// Who says so.
        by: String,
    },
    /// There is nothing to rebuild.
    #[error("{node} leads: the quorum is there")]
    Led {
        /// The leader.
        node: String,
    },
    /// A leader will be elected.
    #[error("{reachable} of {voters} voters are reachable: that is a majority, which elects a leader by itself")]
    Majority {
        /// Voters that answered, this one among them.
        reachable: usize,
        /// All of them.
        voters: usize,
    },
    /// A voter has the authority's key, which a learner lacks.
    #[error("{node} votes and has the same log: run it there")]
    Voter {
        /// Who.
        node: String,
    },
    /// Another has what this one lacks.
    #[error("{node} has a more recent log (revision {revision}, this node: {own}): run it there")]
    Newer {
        /// Who.
        node: String,
        /// Its last entry.
        revision: u64,
        /// This node's.
        own: u64,
    },
}

/// What a recovery makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The last revision that is kept.
    pub revision: u64,
    /// The new term.
    pub term: u64,
    /// How often the cluster will have been recovered.
    pub recovery: u64,
    /// Replicas that follow as learners.
    pub learners: BTreeMap<u64, String>,
    /// Nodes whose vote is given up.
    pub given_up: Vec<String>,
}

/// Decides.
///
/// # Errors
/// [`Refusal`].
pub fn decide(picture: &Picture) -> Result<Keep, Refusal> {
    refuse(picture)?;
    let reached = || picture.others.iter().filter_map(|member| Some((member, member.said.as_ref()?)));
    let newest = reached().map(|(_, said)| said.newest_term.max(said.end.term)).max().unwrap_or(0);
    let term = newest.max(picture.own.newest_term).max(picture.own.end.term) + 1;
    let learners = reached().map(|(member, _)| (member.raft_id, member.node.clone())).collect();
    let lost = picture.others.iter().filter(|member| member.said.is_none());
    Ok(Keep {
        revision: picture.own.end.index,
        term,
        recovery: picture.own.end.recovery + 1,
        learners,
        given_up: lost.map(|member| member.node.clone()).collect(),
    })
}

/// Tells that the replica of `node` was rebuilt from the others, and why.
pub fn rebuilt(node: &Object, why: &str) -> Command {
    let message = format!("the store of {} was rebuilt from the other nodes: {why}", node.key.name);
    super::write::event(node, true, "ReplicaRebuilt", message)
}

fn refuse(picture: &Picture) -> Result<(), Refusal> {
    let votes = picture.votes.ok_or(Refusal::Stranger)?;
    if let Some(by) = &picture.removed_by {
        return Err(Refusal::Removed { by: by.clone() });
    }
    if picture.own.leads {
        return Err(Refusal::Led { node: picture.node.clone() });
    }
    if let Some(leader) = picture.others.iter().find(|member| member.said.is_some_and(|said| said.leads)) {
        return Err(Refusal::Led { node: leader.node.clone() });
    }
    let voters = picture.others.iter().filter(|member| member.votes);
    let reachable = voters.clone().filter(|member| member.said.is_some()).count() + usize::from(votes);
    let voters = voters.count() + usize::from(votes);
    if reachable * 2 > voters {
        return Err(Refusal::Majority { reachable, voters });
    }
    let best = picture
        .others
        .iter()
        .filter_map(|member| Some((member.said?.end, member)))
        .max_by_key(|(end, member)| (*end, member.votes));
    match best {
        Some((end, member)) if end > picture.own.end => {
            Err(Refusal::Newer { node: member.node.clone(), revision: end.index, own: picture.own.end.index })
        }
        Some((end, member)) if end == picture.own.end && member.votes && !votes => {
            Err(Refusal::Voter { node: member.node.clone() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(term: u64, index: u64) -> Option<Said> {
        Some(Said { end: LogEnd { recovery: 0, term, index }, newest_term: term, leads: false })
    }

    fn member(raft_id: u64, votes: bool, said: Option<Said>) -> Member {
        Member { raft_id, node: format!("n{raft_id}"), votes, said }
    }

    /// Node `n1`, whose log ends at entry 10 of term 3.
    fn picture(votes: bool, others: Vec<Member>) -> Picture {
        let own = said(3, 10).unwrap();
        Picture { own, raft_id: 1, node: "n1".into(), votes: Some(votes), others, removed_by: None }
    }

    fn check(picture: &Picture, expect: &str) {
        let told = match decide(picture) {
            Ok(keep) => format!(
                "revision {} term {} recovery {} learners {:?} given up {:?}",
                keep.revision,
                keep.term,
                keep.recovery,
                keep.learners.keys().collect::<Vec<_>>(),
                keep.given_up
            ),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(told, expect);
    }

    #[test]
    fn a_survivor_with_the_most_recent_log_goes_on() {
        check(
            &picture(true, vec![member(2, true, None), member(3, true, None)]),
            r#"revision 10 term 4 recovery 1 learners [] given up ["n2", "n3"]"#,
        );
        let voter = Some(Said { newest_term: 9, ..said(3, 9).unwrap() });
        let five = vec![member(2, true, voter), member(3, true, None), member(4, true, None), member(5, true, None)];
        check(&picture(true, five), r#"revision 10 term 10 recovery 1 learners [2] given up ["n3", "n4", "n5"]"#);
        check(
            &picture(false, vec![member(2, true, None), member(3, false, said(3, 10))]),
            r#"revision 10 term 4 recovery 1 learners [3] given up ["n2"]"#,
        );
        check(
            &picture(false, vec![member(2, true, None), member(3, true, said(3, 10)), member(4, true, None)]),
            "n3 votes and has the same log: run it there",
        );
        let mut again = picture(true, vec![member(2, true, None)]);
        again.own.end.recovery = 4;
        check(&again, r#"revision 10 term 4 recovery 5 learners [] given up ["n2"]"#);
    }

    #[test]
    fn a_quorum_that_lives_is_left_alone() {
        let led = Some(Said { leads: true, ..said(3, 10).unwrap() });
        check(&picture(true, vec![member(2, true, led), member(3, true, None)]), "n2 leads: the quorum is there");
        check(
            &picture(true, vec![member(2, true, said(3, 4)), member(3, true, None)]),
            "2 of 3 voters are reachable: that is a majority, which elects a leader by itself",
        );
        let mut alone = picture(true, Vec::new());
        alone.own.leads = true;
        check(&alone, "n1 leads: the quorum is there");
        check(
            &picture(false, vec![member(2, true, said(3, 4))]),
            "1 of 1 voters are reachable: that is a majority, which elects a leader by itself",
        );
    }

    #[test]
    fn the_most_recent_log_is_the_one_to_go_on_from() {
        for newer in [said(3, 11), said(4, 2)] {
            let revision = newer.unwrap().end.index;
            check(
                &picture(true, vec![member(2, true, None), member(3, true, None), member(4, false, newer)]),
                &format!("n4 has a more recent log (revision {revision}, this node: 10): run it there"),
            );
        }
        let mut recovered = said(2, 5).unwrap();
        recovered.end.recovery = 1;
        let others = vec![member(2, true, None), member(3, true, None), member(4, false, Some(recovered))];
        check(&picture(true, others), "n4 has a more recent log (revision 5, this node: 10): run it there");
    }

    #[test]
    fn who_is_not_of_the_cluster_rebuilds_nothing() {
        let stranger = Picture { votes: None, ..picture(true, Vec::new()) };
        check(&stranger, "this node's replica belongs to no cluster yet");
        let removed = Picture { removed_by: Some("n2".into()), ..picture(true, vec![member(2, true, None)]) };
        check(&removed, "the cluster has gone on without this node, as n2 says: it will rejoin by itself");
    }
}
