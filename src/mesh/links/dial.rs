//! Which connection to a peer is used, and how one is made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::select_ok;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Links;
use super::link::Link;
use super::relay::{RELAY_AFTER, REMEMBERED};
use crate::mesh::fabric::{Channel, Close, DialError};
use crate::model::NodeId;

/// After a failed dial the next one waits this long, twice as long after each further failure.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before the next dial.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Two connections to a peer whose beginnings are no further apart have been dialled at the same time by both; a later
/// one tells that the peer has lost the earlier.
pub const SIMULTANEOUS: Duration = Duration::from_secs(2);
/// Datagrams that wait for a peer's connection; the oldest goes first.
pub const MAX_PENDING_DATAGRAMS: usize = 16;
/// Replaced connections to one peer that may still drain.
const MAX_RETIRED: usize = 2;

/// How long the dial of [`Links::direct`] may take: somebody waits behind a deadline of their own.
const DIRECT_WITHIN: Duration = Duration::from_secs(1);

/// How a dial went: the link, or none.
type Outcome = Option<Option<Arc<Link>>>;

/// Everything known of peers' connections.
#[derive(Default)]
pub struct Peers(BTreeMap<NodeId, Peer>);

#[derive(Default)]
struct Peer {
    link: Option<Arc<Link>>,
    retired: Vec<Arc<Link>>,
    dialling: Option<watch::Sender<Outcome>>,
    datagrams: VecDeque<Bytes>,
    failures: u32,
    /// Where the last dial failed; elsewhere there is nothing to wait for.
    failed_at: Vec<SocketAddr>,
    not_before: Option<Instant>,
    /// Until then it is supposed to need a relay.
    relayed_until: Option<Instant>,
    /// Held by whoever dials it for [`Links::direct`].
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Peer {
    fn usable(&self) -> Option<&Arc<Link>> {
        self.link.as_ref().filter(|link| link.is_usable())
    }

    fn may_dial(&self, addresses: &[SocketAddr], now: Instant) -> bool {
        self.failed_at != addresses || self.not_before.is_none_or(|not_before| not_before <= now)
    }

    fn failed(&mut self, addresses: Vec<SocketAddr>, now: Instant, jitter: f64) {
        let wait = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(8)).min(BACKOFF_MAX);
        self.failures += 1;
        self.not_before = Some(now + wait.mul_f64(jitter));
        self.failed_at = addresses;
    }
}

impl Peers {
    pub fn usable(&self, peer: &NodeId) -> Option<Arc<Link>> {
        self.0.get(peer)?.usable().cloned()
    }

    pub fn connected(&self) -> Vec<NodeId> {
        self.0.iter().filter(|(_, peer)| peer.usable().is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Whom there is a connection to without a relay.
    pub fn direct(&self) -> BTreeSet<NodeId> {
        let direct = |peer: &Peer| peer.usable().is_some_and(|link| !link.is_relayed());
        self.0.iter().filter(|(_, peer)| direct(peer)).map(|(name, _)| name.clone()).collect()
    }

    /// Those whose direct connection has gone silent.
    pub fn silent(&self, now: Instant) -> Vec<NodeId> {
        let direct = self.0.values().filter_map(Peer::usable).filter(|link| !link.is_relayed());
        direct.filter(|link| link.turns_silent(now)).map(|link| link.peer.clone()).collect()
    }

    pub fn take_all(&mut self) -> Vec<Arc<Link>> {
        std::mem::take(&mut self.0).into_values().flat_map(|peer| peer.retired.into_iter().chain(peer.link)).collect()
    }

    /// Takes out the links of refused peers, and forgets peers without a link that may be dialled again.
    pub fn sweep(&mut self, now: Instant, is_refused: impl Fn(&NodeId) -> bool) -> Vec<Arc<Link>> {
        let mut ended = Vec::new();
        self.0.retain(|name, peer| {
            peer.retired.retain(|link| !link.is_over());
            if peer.link.as_ref().is_some_and(|link| link.is_over()) {
                peer.link = None;
            }
            if is_refused(name) {
                ended.extend(peer.retired.drain(..).chain(peer.link.take()));
            }
            let waits = peer.not_before.is_some_and(|not_before| not_before + BACKOFF_MAX > now);
            let remembered = peer.relayed_until.is_some_and(|until| until > now);
            peer.link.is_some() || !peer.retired.is_empty() || peer.dialling.is_some() || waits || remembered
        });
        ended
    }

    /// The link that does nothing for the longest time of being so, where there are `limit` links.
    fn make_room(&self, limit: usize) -> Option<Arc<Link>> {
        let links = self.0.values().filter_map(Peer::usable);
        if links.clone().count() < limit {
            return None;
        }
        links.filter(|link| link.is_quiet()).min_by_key(|link| link.last_used()).cloned()
    }

    fn is_full(&self, limit: usize) -> bool {
        self.0.values().filter_map(Peer::usable).count() >= limit
    }
}

enum Way {
    Here(Arc<Link>),
    Dialling(watch::Receiver<Outcome>),
    Nowhere,
}

impl Links {
    /// Waits for the link to `peer`, dialling where nobody does yet.
    pub(super) async fn dialled(&self, peer: &NodeId) -> Option<Arc<Link>> {
        let mut outcome = match self.way(peer, None) {
            Way::Here(link) => return Some(link),
            Way::Dialling(outcome) => outcome,
            Way::Nowhere => return None,
        };
        let known = outcome.wait_for(Option::is_some).await.ok()?;
        known.clone().flatten()
    }

    /// Sends a datagram where there is a link; keeps it for a moment while one is made. `false` where it is dropped.
    pub(super) fn send_or_dial(&self, peer: &NodeId, datagram: Bytes) -> bool {
        match self.way(peer, Some(&datagram)) {
            Way::Here(link) => {
                link.touch();
                link.channel.send_datagram(datagram).is_ok()
            }
            Way::Dialling(_) => true,
            Way::Nowhere => false,
        }
    }

    fn way(&self, peer: &NodeId, datagram: Option<&Bytes>) -> Way {
        if *peer == self.0.context.me || self.is_refused(peer) {
            return Way::Nowhere;
        }
        let addresses = (self.0.directory)(peer);
        let mut peers = self.0.peers.lock();
        // Asked under the lock: `stop` tells everybody who waits by taking what is behind it.
        if self.0.stopped.load(Ordering::Acquire) {
            return Way::Nowhere;
        }
        let entry = peers.0.entry(peer.clone()).or_default();
        if let Some(link) = entry.usable() {
            return Way::Here(link.clone());
        }
        let way = match &entry.dialling {
            Some(outcome) => Way::Dialling(outcome.subscribe()),
            None if !entry.may_dial(&addresses, Instant::now()) => return Way::Nowhere,
            None if addresses.is_empty() && !self.may_relay(peer) => return Way::Nowhere,
            None => {
                let (sender, receiver) = watch::channel(None);
                entry.dialling = Some(sender);
                self.0.tasks.spawn(self.clone().dial(peer.clone(), addresses));
                Way::Dialling(receiver)
            }
        };
        if let Some(datagram) = datagram {
            if entry.datagrams.len() >= MAX_PENDING_DATAGRAMS {
                entry.datagrams.pop_front();
                self.counters().datagrams_dropped.add_one();
            }
            entry.datagrams.push_back(datagram.clone());
        }
        way
    }

    async fn dial(self, peer: NodeId, addresses: Vec<SocketAddr>) {
        if self.connect(&peer, &addresses).await.is_some() {
            return;
        }
        self.counters().dial_failures.add_one();
        let jitter = self.0.rng.lock().random_range(0.5..1.0);
        let mut peers = self.0.peers.lock();
        if let Some(entry) = peers.0.get_mut(&peer) {
            entry.failed(addresses, Instant::now(), jitter);
            self.counters().datagrams_dropped.add(entry.datagrams.len() as u64);
            entry.datagrams.clear();
            let link = entry.usable().cloned();
            if let Some(waiting) = entry.dialling.take() {
                waiting.send_replace(Some(link));
            }
        }
    }

    /// Dials directly, and through others too where that fails or takes long. The first that succeeds is used.
    async fn connect(&self, peer: &NodeId, addresses: &[SocketAddr]) -> Option<Arc<Link>> {
        let failed = CancellationToken::new();
        let direct = async {
            let link = self.dial_direct(peer, addresses).await;
            failed.cancel();
            link.ok_or(())
        };
        let relayed = async {
            let _ = timeout(self.head_start(peer), failed.cancelled()).await;
            self.dial_relayed(peer).await.ok_or(())
        };
        select_ok([direct.boxed(), relayed.boxed()]).await.ok().map(|(link, _)| link)
    }

    /// How long a direct dial is left alone.
    fn head_start(&self, peer: &NodeId) -> Duration {
        let until = self.0.peers.lock().0.get(peer).and_then(|peer| peer.relayed_until);
        if until.is_some_and(|until| until > Instant::now()) { Duration::ZERO } else { RELAY_AFTER }
    }

    /// Dials one address after the other.
    pub(super) async fn dial_direct(&self, peer: &NodeId, addresses: &[SocketAddr]) -> Option<Arc<Link>> {
        let each = self.0.context.settings.dial_within / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        for at in addresses {
            match timeout(each, self.0.fabric.dial(peer, *at)).await {
                Ok(Ok(channel)) if channel.peer() == peer => {
                    if let Some(link) = self.adopt(channel, true) {
                        return Some(link);
                    }
                }
                Ok(Ok(channel)) => channel.close(Close::Refused),
                Ok(Err(error)) => self.tell(peer, &error),
                Err(_) => tracing::debug!(%peer, %at, "dial took too long"),
            }
        }
        None
    }

    /// A peer that will not be reached until somebody does something is told of once.
    fn tell(&self, peer: &NodeId, error: &DialError) {
        let failures = self.0.peers.lock().0.get(peer).map_or(0, |peer| peer.failures);
        if matches!(error, DialError::Version { .. }) && failures == 0 {
            tracing::warn!(%peer, %error, "two releases do not understand each other");
        } else {
            tracing::debug!(%peer, %error, "dial failed");
        }
    }

    /// A link to `peer` without a relay, dialled where there is no link at all; for what carries others.
    pub(super) async fn direct(&self, peer: &NodeId) -> Option<Arc<Link>> {
        if let Some(link) = self.present(peer) {
            return (!link.is_relayed()).then_some(link);
        }
        let (turn, under_way) = {
            let mut peers = self.0.peers.lock();
            let entry = peers.0.entry(peer.clone()).or_default();
            (entry.turn.clone(), entry.dialling.as_ref().map(watch::Sender::subscribe))
        };
        let _turn = turn.lock().await;
        if let Some(mut under_way) = under_way {
            let _ = under_way.wait_for(Option::is_some).await;
        }
        if let Some(link) = self.present(peer) {
            return (!link.is_relayed()).then_some(link);
        }
        let addresses = (self.0.directory)(peer);
        let link = timeout(DIRECT_WITHIN, self.dial_direct(peer, &addresses)).await.ok()??;
        (!link.is_relayed()).then_some(link)
    }

    /// Takes a connection into use. Gives the link to use from now on, which may be an earlier one; `None` where the
    /// peer is turned away.
    pub(super) fn adopt(&self, channel: Arc<dyn Channel>, dialled: bool) -> Option<Arc<Link>> {
        let peer = channel.peer().clone();
        let stopped = self.0.stopped.load(Ordering::Acquire);
        if stopped || peer == self.0.context.me || self.is_refused(&peer) || !self.has_room(&peer) {
            self.counters().turned_away.add_one();
            channel.close(if stopped { Close::Stopping } else { Close::Refused });
            return None;
        }
        let link = Link::new(&self.0.context, channel, dialled);
        self.counters().opened.add_one();
        let (kept, ended) = self.place(&peer, link.clone());
        if link.is_relayed() {
            self.0.tasks.spawn(self.clone().straighten(link.clone()));
        }
        if self.0.tasks.spawn(link.clone().run()).is_none() {
            link.end(Close::Stopping);
        }
        if let Some(ended) = ended {
            ended.end(Close::Idle);
        }
        Some(kept)
    }

    fn has_room(&self, peer: &NodeId) -> bool {
        let limit = self.0.context.settings.max_links;
        let peers = self.0.peers.lock();
        if peers.usable(peer).is_some() {
            return true;
        }
        let idle = peers.make_room(limit);
        let full = peers.is_full(limit);
        drop(peers);
        if let Some(idle) = &idle {
            idle.end(Close::Idle);
        }
        idle.is_some() || !full
    }

    /// Puts a new link in its place: the link that is kept, and one that must end now.
    fn place(&self, peer: &NodeId, link: Arc<Link>) -> (Arc<Link>, Option<Arc<Link>>) {
        let me = &self.0.context.me;
        let mut peers = self.0.peers.lock();
        let entry = peers.0.entry(peer.clone()).or_default();
        entry.retired.retain(|link| !link.is_over());
        let old = entry.link.take().filter(|old| old.is_usable());
        let kept = match old {
            Some(old) if keeps_old(&old, &link, me < peer) => {
                link.retire(&old);
                entry.retired.push(link);
                old
            }
            Some(old) => {
                old.retire(&link);
                entry.retired.push(old);
                link
            }
            None => link,
        };
        entry.link = Some(kept.clone());
        entry.failures = 0;
        entry.not_before = None;
        entry.relayed_until = kept.is_relayed().then(|| Instant::now() + REMEMBERED);
        for datagram in entry.datagrams.drain(..) {
            let _ = kept.channel.send_datagram(datagram);
        }
        if let Some(waiting) = entry.dialling.take() {
            waiting.send_replace(Some(Some(kept.clone())));
        }
        let ended = (entry.retired.len() > MAX_RETIRED).then(|| entry.retired.remove(0));
        (kept, ended)
    }
}

/// Of two connections dialled at the same time both ends keep the one that the smaller name has dialled. A peer that
/// dials though it has a connection no longer has it. A direct one replaces a relayed one.
fn keeps_old(old: &Link, new: &Link, smaller: bool) -> bool {
    let simultaneous = new.born.saturating_duration_since(old.born) <= SIMULTANEOUS;
    if old.is_relayed() != new.is_relayed() {
        return simultaneous && new.is_relayed();
    }
    simultaneous && old.dialled != new.dialled && old.dialled == smaller
}
