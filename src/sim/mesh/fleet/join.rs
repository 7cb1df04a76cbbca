//! Strangers join while everything goes wrong: the request, the decision and the answer each cross the network.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng as _;

use super::{Fleet, Site};
use crate::model::Timestamp;
use crate::sim::mesh::authority::{Leaf, Papers};
use crate::sim::mesh::history::Join;
use crate::sim::mesh::net::Slot;

/// How long a token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_mins(3);

/// What the authority keeps of the tokens it has made.
#[derive(Debug, Default)]
pub struct Tokens {
    next: u64,
    known: BTreeMap<u64, Token>,
}

/// A token.
#[derive(Debug, Clone)]
pub struct Token {
    /// How many nodes may use it.
    pub uses: u32,
    /// When it ends.
    pub expires: Timestamp,
    /// Who has used it: the node, and the key that it showed.
    pub used: Vec<(crate::model::NodeId, u64)>,
}

/// What a stranger shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Which token.
    pub token: u64,
    /// Whether its secret is right.
    pub genuine: bool,
    /// The stranger's key: the same when it asks again because no answer came.
    pub key: u64,
}

impl Tokens {
    /// Makes a token.
    pub fn make(&mut self, uses: u32, now: Timestamp) -> u64 {
        self.next += 1;
        self.known.insert(self.next, Token { uses, expires: now + TOKEN_LIFETIME, used: Vec::new() });
        self.next
    }

    /// The number of the newest token; 0 where there is none.
    pub fn newest(&self) -> u64 {
        self.next
    }

    /// Decides, and counts the use.
    fn admit(&mut self, request: Request, node: &crate::model::NodeId, now: Timestamp) -> bool {
        let Some(token) = self.known.get_mut(&request.token) else { return false };
        let again = token.used.contains(&(node.clone(), request.key));
        let room = token.used.len() < token.uses as usize;
        if !request.genuine || now > token.expires || !(again || room) {
            return false;
        }
        if !again {
            token.used.push((node.clone(), request.key));
        }
        true
    }
}

impl Fleet {
    /// A stranger asks a running node to be let in; true once it has its certificate and runs.
    pub fn try_join(&mut self, slot: Slot, request: Request) -> Result<bool, String> {
        let Some(seed) = self.seed_for(slot) else { return Ok(false) };
        let at = self.hand.at();
        let (asked, answered) = (self.crosses(slot, seed), self.crosses(seed, slot));
        if !asked {
            return Ok(false);
        }
        let Some((seed_name, seed_at, clock)) =
            self.sites.get(seed).map(|seed| (seed.name.clone(), seed.at, seed.clock.shows(at)))
        else {
            return Ok(false);
        };
        let Some((name, cluster)) = self.sites.get(slot).map(|site| (site.name.clone(), site.cluster)) else {
            return Ok(false);
        };
        let granted = self.tokens.admit(request, &name, clock);
        self.shared.trace.note(format!("{name} asks {seed_name} to join with {request:?}: {granted}"));
        let known = self.tokens.known.get(&request.token);
        let join = Join {
            at,
            token: request.token,
            uses: known.map_or(0, |token| token.uses),
            expires: known.map_or(Timestamp(0), |token| token.expires),
            clock,
            genuine: request.genuine,
            node: name.clone(),
            key: request.key,
            granted,
        };
        self.shared.history.lock().joins.push(join);
        if !granted || !answered {
            return Ok(false);
        }
        let revoked = self.net.papers(seed, |papers| papers.revoked.clone()).unwrap_or_default();
        if let Some(site) = self.sites.get_mut(slot) {
            site.papers = Some(Papers { cluster, leaf: Leaf::issue(&name, cluster, clock), revoked });
            site.remembered.insert(seed_name, seed_at);
        }
        self.boot(slot)?;
        Ok(true)
    }

    /// A running, joined node of the same cluster.
    fn seed_for(&mut self, slot: Slot) -> Option<Slot> {
        let cluster = self.sites.get(slot)?.cluster;
        let serves = |site: &&Site| site.cluster == cluster && site.slot != slot && site.is_up() && !site.frozen;
        let seeds: Vec<Slot> = self.sites.iter().filter(serves).map(|site| site.slot).collect();
        seeds.get(self.rng.random_range(0..seeds.len().max(1))).copied()
    }

    /// Whether one message gets from one machine to another now.
    fn crosses(&mut self, from: Slot, to: Slot) -> bool {
        let (open, loss) = self.net.sky(|sky| (sky.is_open(from, to), sky.between(from, to).loss));
        open && !self.rng.random_bool(loss.clamp(0.0, 1.0))
    }
}
