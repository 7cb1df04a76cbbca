//! Who votes: how many nodes, which ones, and the next step towards that. The voters change together, in one step that
//! a majority of both the old and the new ones decides, and are odd in number before and after: an even number bears
//! no more deaths than one less.

use std::collections::BTreeSet;
use std::time::Duration;

/// A learner that is further behind than so many entries is not made a voter: writes would wait for it.
pub const MAX_LAG: u64 = 1_024;

/// What the cluster's settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Most voters: 1, 3 or 5.
    pub voters_max: usize,
    /// How long a voter is silent before another node votes instead.
    pub replace_after: Duration,
}

/// How a replica's node is, as far as the leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Well,
    /// It has not answered for this long.
    Silent(Duration),
    /// It is about to leave for good.
    Leaving,
}

/// A replica of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its number in the replicated log.
    pub id: u64,
    /// Its node.
    pub node: String,
    /// Its failure domain; empty where not told.
    pub zone: String,
    /// Whether it votes.
    pub votes: bool,
    /// Whether it leads, and decides this.
    pub leads: bool,
    /// Whether it holds the key of the cluster's authority.
    pub entrusted: bool,
    /// Entries that it is not known to hold.
    pub lag: u64,
    /// How its node is.
    pub health: Health,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Give a learner the authority's key: whoever may lead must be able to let nodes in.
    Entrust(u64),
    /// Let these vote, and nobody else.
    Vote(BTreeSet<u64>),
    /// Let another voter lead.
    HandOver(u64),
}

/// How many nodes should vote in a cluster of so many: one of one or two, three from three on, five from seven on.
pub fn wanted(nodes: usize, voters_max: usize) -> usize {
    let wanted = match nodes {
        0..=2 => 1,
        3..=6 => 3,
        _ => 5,
    };
    wanted.min(voters_max.max(1))
}

/// The next step, where one should be taken. `replicas` is everybody in the log's membership.
pub fn next(replicas: &[Replica], terms: &Terms) -> Option<Step> {
    Picture { replicas, terms }.next()
}

struct Picture<'a> {
    replicas: &'a [Replica],
    terms: &'a Terms,
}

impl Picture<'_> {
    fn next(&self) -> Option<Step> {
        let nodes = self.replicas.iter().filter(|replica| replica.health != Health::Leaving).count();
        let mut target = self.target(wanted(nodes, self.terms.voters_max));
        if let Some(lacking) = self.replicas.iter().find(|one| target.contains(&one.id) && !one.entrusted) {
            // A voter that is silent is given the key when it is back.
            if !lacking.votes {
                return Some(Step::Entrust(lacking.id));
            }
        }
        if let Some(heir) = self.heir(&target) {
            return Some(Step::HandOver(heir));
        }
        // A leader that leaves still votes until another leads.
        target.extend(self.voters().filter(|voter| voter.leads).map(|leader| leader.id));
        let voters: BTreeSet<u64> = self.voters().map(|voter| voter.id).collect();
        (target != voters).then_some(Step::Vote(target))
    }

    fn voters(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.votes)
    }

    /// Whether a voter still counts: it is not about to leave, nor silent for too long.
    fn stands(&self, voter: &Replica) -> bool {
        match voter.health {
            Health::Well => true,
            Health::Silent(time) => time < self.terms.replace_after,
            Health::Leaving => false,
        }
    }

    /// Who should vote: those who stand, the best learners where they are too few, and an odd number of all.
    fn target(&self, wanted: usize) -> BTreeSet<u64> {
        let mut chosen: Vec<&Replica> = self.voters().filter(|voter| self.stands(voter)).collect();
        while chosen.len() > wanted {
            let Some(surplus) = dismissed(&chosen) else { break };
            chosen.retain(|one| one.id != surplus);
        }
        while chosen.len() < wanted {
            let Some(next) = self.candidate(&chosen) else { break };
            chosen.push(next);
        }
        if chosen.len() == wanted {
            self.spread(&mut chosen);
        }
        self.make_odd(&mut chosen);
        chosen.iter().map(|one| one.id).collect()
    }

    /// The learner to promote: of the zone with the fewest voters, then one that holds the key already, then the first.
    fn candidate(&self, chosen: &[&Replica]) -> Option<&Replica> {
        let is_fit = |one: &&Replica| !one.votes && one.health == Health::Well && one.lag <= MAX_LAG;
        let free = self.replicas.iter().filter(is_fit).filter(|one| chosen.iter().all(|other| other.id != one.id));
        free.min_by_key(|one| (crowd(chosen, one), !one.entrusted, one.id))
    }

    /// One of a zone without voters instead of one of a zone with two more, while that helps.
    fn spread<'a>(&'a self, chosen: &mut Vec<&'a Replica>) {
        if chosen.len() < 2 {
            return;
        }
        while let Some(candidate) = self.candidate(chosen) {
            let followers = chosen.iter().filter(|one| !one.leads);
            let Some(most) = followers.max_by_key(|one| (crowd(chosen, one), one.id)).copied() else { return };
            if crowd(chosen, candidate) + 1 >= crowd(chosen, most) {
                return;
            }
            chosen.retain(|one| one.id != most.id);
            chosen.push(candidate);
        }
    }

    /// An even number keeps a silent voter that may come back, or does without the last learner, or without a follower.
    fn make_odd<'a>(&'a self, chosen: &mut Vec<&'a Replica>) {
        if chosen.len() % 2 == 1 {
            return;
        }
        let may_return = |one: &&Replica| matches!(one.health, Health::Silent(_)) && !self.stands(one);
        let silence = |one: &&Replica| if let Health::Silent(time) = one.health { time } else { Duration::ZERO };
        if let Some(silent) = self.voters().filter(may_return).min_by_key(silence) {
            chosen.push(silent);
        } else if let Some(last) = chosen.iter().rposition(|one| !one.votes) {
            chosen.remove(last);
        } else if let Some(surplus) = dismissed(chosen) {
            chosen.retain(|one| one.id != surplus);
        }
    }

    /// Who leads instead of a leader that leaves. One whose disk is slow lets another lead by itself: `store::hand_over`.
    fn heir(&self, target: &BTreeSet<u64>) -> Option<u64> {
        self.voters().find(|voter| voter.leads && voter.health == Health::Leaving)?;
        let is_fit = |one: &&Replica| !one.leads && one.health == Health::Well && one.lag <= MAX_LAG;
        let others = self.voters().filter(is_fit).filter(|one| target.contains(&one.id));
        others.min_by_key(|voter| (voter.lag, voter.id)).map(|voter| voter.id)
    }
}

/// How many of those chosen are in the zone of `one`.
fn crowd(chosen: &[&Replica], one: &Replica) -> usize {
    chosen.iter().filter(|other| other.zone == one.zone).count()
}

/// Who goes where there are too many: one that is not well, then one of the most crowded zone; never the leader.
fn dismissed(chosen: &[&Replica]) -> Option<u64> {
    let others = chosen.iter().filter(|one| !one.leads);
    let last = others.max_by_key(|one| (one.health != Health::Well, crowd(chosen, one), one.id));
    last.map(|one| one.id)
}

#[cfg(test)]
mod tests;
