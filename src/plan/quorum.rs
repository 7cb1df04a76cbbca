//! Who votes: how many nodes, which ones, and the next step towards that. One change at a time, so that every change
//! is decided by a majority that the one before has made.

use std::collections::BTreeMap;
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
    /// It answers, but its disk is too slow to lead.
    Slow,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Give a learner the authority's key: whoever may lead must be able to let nodes in.
    Entrust(u64),
    /// Make a learner a voter.
    Promote(u64),
    /// Make a voter a learner.
    Demote(u64),
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
        let wanted = wanted(nodes, self.terms.voters_max);
        let standing = self.voters().filter(|voter| self.stands(voter)).count();
        if standing < wanted
            && let Some(candidate) = self.candidate()
        {
            return Some(admit(candidate));
        }
        if let Some(step) = self.relieve_leader() {
            return Some(step);
        }
        let surplus = self.voters().count() > wanted && standing >= wanted.min(self.available());
        surplus.then(|| self.dismissed()).flatten().map(|voter| Step::Demote(voter.id)).or_else(|| self.spread(wanted))
    }

    fn voters(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.votes)
    }

    /// Whether a voter still counts: it is not about to leave, nor silent for too long.
    fn stands(&self, voter: &Replica) -> bool {
        match voter.health {
            Health::Well | Health::Slow => true,
            Health::Silent(time) => time < self.terms.replace_after,
            Health::Leaving => false,
        }
    }

    /// Nodes that vote or could.
    fn available(&self) -> usize {
        self.voters().filter(|voter| self.stands(voter)).count() + usize::from(self.candidate().is_some())
    }

    /// Voters of each zone that still count.
    fn zones(&self) -> BTreeMap<&str, usize> {
        let mut zones = BTreeMap::new();
        for voter in self.voters().filter(|voter| self.stands(voter)) {
            *zones.entry(voter.zone.as_str()).or_default() += 1;
        }
        zones
    }

    /// The learner to promote: of the zone with the fewest voters, then one that holds the key already, then the first.
    fn candidate(&self) -> Option<&Replica> {
        let zones = self.zones();
        let crowd = |replica: &Replica| zones.get(replica.zone.as_str()).copied().unwrap_or_default();
        let fit =
            self.replicas.iter().filter(|one| !one.votes && one.health == Health::Well && one.lag <= MAX_LAG);
        fit.min_by_key(|one| (crowd(one), !one.entrusted, one.id))
    }

    /// A leader that leaves or whose disk is slow lets the best other voter lead.
    fn relieve_leader(&self) -> Option<Step> {
        let leader = self.voters().find(|voter| voter.leads)?;
        if !matches!(leader.health, Health::Leaving | Health::Slow) {
            return None;
        }
        let others = self.voters().filter(|voter| !voter.leads && voter.health == Health::Well && voter.lag <= MAX_LAG);
        others.min_by_key(|voter| (voter.lag, voter.id)).map(|voter| Step::HandOver(voter.id))
    }

    /// The voter to make a learner: one that does not count any more, then one of the most crowded zone; never the
    /// leader.
    fn dismissed(&self) -> Option<&Replica> {
        let zones = self.zones();
        let crowd = |voter: &Replica| zones.get(voter.zone.as_str()).copied().unwrap_or_default();
        let ill = |voter: &Replica| voter.health != Health::Well;
        let others = self.voters().filter(|voter| !voter.leads);
        others.max_by_key(|voter| (!self.stands(voter), ill(voter), crowd(voter), voter.id))
    }

    /// With the right number of voters: one of a zone without, where another zone has two more.
    fn spread(&self, wanted: usize) -> Option<Step> {
        if wanted == 1 || self.voters().count() != wanted {
            return None;
        }
        let zones = self.zones();
        let candidate = self.candidate()?;
        let here = zones.get(candidate.zone.as_str()).copied().unwrap_or_default();
        let others = self.voters().filter(|voter| !voter.leads);
        let most = others.filter_map(|voter| zones.get(voter.zone.as_str())).max()?;
        (here + 1 < *most).then(|| admit(candidate))
    }
}

/// The key comes before the vote.
fn admit(candidate: &Replica) -> Step {
    if candidate.entrusted { Step::Promote(candidate.id) } else { Step::Entrust(candidate.id) }
}

#[cfg(test)]
mod tests;
