//! Strangers join while everything goes wrong: the request, the decision and the answer each cross the network.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng as _;

use super::{CERTIFIERS, Fleet, Site};
use crate::mesh::identity::Fingerprint;
use crate::mesh::identity::token::{JoinToken, TokenRecord, admit};
use crate::model::{NodeId, Timestamp};
use crate::sim::mesh::authority::handshake;
use crate::sim::mesh::history::Join;
use crate::sim::mesh::net::Slot;
use crate::world::entropy::Rng;

/// How long a token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_mins(3);

/// What the authority keeps of the tokens it has made.
#[derive(Default)]
pub struct Tokens {
    next: u64,
    known: BTreeMap<u64, Token>,
}

/// A token: what was handed out, how often it may be used, and what the authority keeps of it.
struct Token {
    token: JoinToken,
    uses: u32,
    record: TokenRecord,
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
    pub fn make(&mut self, uses: u32, key: Fingerprint, now: Timestamp, rng: &mut Rng) -> u64 {
        let token = JoinToken::generate(rng, key);
        let record = TokenRecord::new(&token, now, TOKEN_LIFETIME, Some(uses));
        self.next += 1;
        self.known.insert(self.next, Token { token, uses, record });
        self.next
    }

    /// The number of the newest token; 0 where there is none.
    pub fn newest(&self) -> u64 {
        self.next
    }

    /// Decides, and counts the use.
    fn admit(&mut self, request: Request, now: Timestamp, rng: &mut Rng) -> bool {
        let Some(known) = self.known.get_mut(&request.token) else { return false };
        let mut shown = known.token.clone();
        if !request.genuine {
            // The name of a token is no secret.
            shown = JoinToken::generate(rng, known.token.fingerprint);
            shown.id.clone_from(&known.token.id);
        }
        match admit(Some(&known.record), &shown.presented(), now) {
            Ok(after) => {
                known.record = after;
                true
            }
            Err(_) => false,
        }
    }
}

impl Fleet {
    /// A stranger asks a running node to be let in; true once it has its certificate and runs.
    pub fn try_join(&mut self, slot: Slot, request: Request) -> Result<bool, String> {
        let Some(seed) = self.seed_for(slot) else { return Ok(false) };
        let at = self.hand.at();
        let (asked, answered) = (self.crosses(slot, seed), self.crosses(seed, slot));
        let Some(authority) = self.authority_for(seed).filter(|_| asked) else { return Ok(false) };
        let Some((seed_name, seed_at, clock)) =
            self.sites.get(seed).map(|seed| (seed.name.clone(), seed.at, seed.clock.shows(at)))
        else {
            return Ok(false);
        };
        let Some((name, cluster)) = self.sites.get(slot).map(|site| (site.name.clone(), site.cluster)) else {
            return Ok(false);
        };
        let granted = self.tokens.admit(request, clock, &mut self.rng);
        self.shared.trace.note(format!("{name} asks {seed_name} to join with {request:?}: {granted}"));
        let known = self.tokens.known.get(&request.token);
        let join = Join {
            at,
            token: request.token,
            uses: known.map_or(0, |token| token.uses),
            expires: known.map_or(Timestamp(0), |token| token.record.expires),
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
        // The answer brings what the cluster has written down of whom it refuses.
        let revoked: Vec<NodeId> = self.shared.history.lock().revoked.keys().cloned().collect();
        let Some(named) = self.sites.get(authority).map(|site| (site.name.clone(), site.at)) else { return Ok(false) };
        if let Some(site) = self.sites.get_mut(slot) {
            let papers = self.authorities.papers(&name, cluster, clock, site.clock.clone())?;
            revoked.iter().for_each(|node| papers.revoke(node, clock));
            site.papers = Some(papers);
            site.remembered.extend([(seed_name, seed_at), named]);
        }
        self.boot(slot)?;
        self.refuse_revoked(slot);
        Ok(true)
    }

    /// A token of a cluster for one use, made when it is needed.
    pub fn make_token(&mut self, cluster: u32) -> Result<u64, String> {
        let at = self.hand.at();
        let key = self.authorities.of(cluster)?.fingerprint();
        let maker = self.sites.iter().find(|site| site.cluster == cluster).map(|site| site.clock.shows(at));
        Ok(self.tokens.make(1, key, maker.unwrap_or_default(), &mut self.rng))
    }

    /// A running, joined node of the same cluster.
    fn seed_for(&mut self, slot: Slot) -> Option<Slot> {
        let cluster = self.sites.get(slot)?.cluster;
        let serves = |site: &&Site| site.cluster == cluster && site.slot != slot && site.is_up() && !site.frozen;
        let seeds: Vec<Slot> = self.sites.iter().filter(serves).map(|site| site.slot).collect();
        seeds.get(self.rng.random_range(0..seeds.len().max(1))).copied()
    }

    /// The holder of the authority's key that answers a seed, as one must before anybody is let in.
    fn authority_for(&mut self, seed: Slot) -> Option<Slot> {
        let cluster = self.sites.get(seed).map(|site| site.cluster);
        let holders = self.sites.iter().filter(|site| Some(site.cluster) == cluster).take(CERTIFIERS);
        let up: Vec<Slot> = holders.filter(|site| site.is_up() && !site.frozen).map(|site| site.slot).collect();
        up.into_iter().find(|holder| {
            *holder == seed
                || (self.accept_each_other(seed, *holder) && self.crosses(seed, *holder) && self.crosses(*holder, seed))
        })
    }

    fn accept_each_other(&self, a: Slot, b: Slot) -> bool {
        let papers = |slot| self.net.papers(slot, |papers| papers.clone());
        let (Some(a), Some(b)) = (papers(a), papers(b)) else { return false };
        handshake(&a, &b, b.node()).is_ok()
    }

    /// Whether one message gets from one machine to another now.
    fn crosses(&mut self, from: Slot, to: Slot) -> bool {
        let (open, loss) = self.net.sky(|sky| (sky.is_open(from, to), sky.between(from, to).loss));
        open && !self.rng.random_bool(loss.clamp(0.0, 1.0))
    }
}
