//! What a replica does by itself for the cluster: says again what got lost, catches up after a start, and where there are
//! several voters sends heartbeats and stands for election. With one voter it sleeps, unless that is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::contact::{Contact, LOST_AFTER};
use super::forward::Forward;
use super::handle::Inner;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::raft::{LEASE, Standing};
use crate::model::Revision;
use crate::world::entropy::Rng;

/// Time between two heartbeats of a leader that has other voters; a third of the lease.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Time without a word from the leader after which the voter next to it stands for election: three heartbeats may be lost.
const ELECT_AFTER: Duration = Duration::from_millis(400);
/// Each voter further from the leader waits so much longer, so that they do not stand at the same time.
const STAGGER: Duration = Duration::from_millis(60);
/// Greatest time that is added at random to each.
const JITTER: Duration = Duration::from_millis(30);
/// Least and greatest wait before a voter that was not elected asks again.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(80), Duration::from_millis(160));
/// The first election gets so many times as long, each further one twice as long as the one before.
const ELECT_FIRST: u32 = 3;
/// An election gets so many times as long, at most.
const AGAIN_MOST: u32 = 24;
/// Longest sleep of a voter that waits for a silence, so that it notices when it was stopped itself.
const TICK: Duration = Duration::from_millis(100);
/// A sleep that takes so much longer than it should was a time in which this node heard nothing because it did not run.
const STALLED: Duration = Duration::from_millis(50);
/// Bound on asking the other voters before.
const CANVASS_WITHIN: Duration = Duration::from_millis(200);
/// Bound on waiting for the others once a majority would vote for this node: one of them may know that the cluster has
/// gone on without it.
const VETO_WITHIN: Duration = Duration::from_millis(50);
/// First wait before news that did not get through is sent again; it doubles while that goes on.
const REMIND_FIRST: Duration = Duration::from_millis(50);
/// Longest such wait.
const REMIND_MOST: Duration = Duration::from_secs(2);
/// Wait between two looks for a leader after a start, and bound on applying what it said.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest wait between two questions to a quorum that is lost, and bound on its answer.
const PROBE_EVERY: Duration = Duration::from_millis(250);
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// Wait between two surveys while it is lost.
const SURVEY_EVERY: Duration = Duration::from_secs(2);

struct Pulse {
    forward: Forward,
    applied: Arc<watch::Sender<Revision>>,
    caught_up: Arc<watch::Sender<bool>>,
    contact: Arc<Contact>,
    rng: Mutex<Rng>,
}

/// Starts it; it ends with the store.
pub(super) fn start(inner: &Inner, rng: Rng) {
    let pulse = Pulse {
        forward: inner.forward.clone(),
        applied: inner.applied.clone(),
        caught_up: inner.caught_up.clone(),
        contact: inner.contact.clone(),
        rng: Mutex::new(rng),
    };
    let mut stop = inner.failed.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = stop.wait_for(Option::is_some) => {}
            _ = async { tokio::join!(pulse.remind(), pulse.catch_up(), pulse.elections(), pulse.keep_contact()) } => {}
        }
    });
}

impl Pulse {
    /// openraft tells a replica what is committed once; where that failed and nothing new is written, it is told again.
    async fn remind(&self) {
        let owed = &self.forward.consensus.wire().owed;
        let mut wait = REMIND_FIRST;
        loop {
            if timeout(REMIND_MOST * 2, owed.notified()).await.is_err() {
                wait = REMIND_FIRST;
                owed.notified().await;
            }
            sleep(wait).await;
            wait = (wait * 2).min(REMIND_MOST);
            if self.forward.consensus.leads() {
                self.forward.consensus.remind().await;
            }
        }
    }

    /// A log says what is committed only with the next write: after a start the leader is asked.
    async fn catch_up(&self) {
        let mut changes = self.forward.consensus.raft().server_metrics();
        loop {
            changes.borrow_and_update();
            if self.forward.consensus.leads() || self.asked_and_applied().await {
                self.caught_up.send_replace(true);
                self.contact.confirm(Instant::now());
                return;
            }
            self.miss();
            let _ = timeout(LOOK_EVERY, changes.changed()).await;
        }
    }

    async fn asked_and_applied(&self) -> bool {
        if self.forward.leader().is_none() && self.forward.consensus.other_voters().is_empty() {
            return false;
        }
        match self.forward.read_index(&mut self.forward.search(), true).await {
            Ok(Some(revision)) => {
                let mut applied = self.applied.subscribe();
                timeout(LOOK_EVERY, applied.wait_for(|applied| *applied >= revision)).await.is_ok()
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    async fn elections(&self) {
        let consensus = &self.forward.consensus;
        let mut changes = consensus.raft().server_metrics();
        loop {
            changes.borrow_and_update();
            let alone = consensus.other_voters().is_empty();
            match consensus.standing() {
                Standing::Leader if !alone => {
                    consensus.remind().await;
                    sleep(HEARTBEAT).await;
                    if consensus.unconfirmed() >= LOST_AFTER {
                        self.contact.lose(Instant::now() - LOST_AFTER, consensus.voters());
                    }
                }
                Standing::Voter if !alone => self.follow().await,
                // A higher term came from somebody who was a member once.
                Standing::Voter => {
                    consensus.elect().await;
                    let _ = timeout(ELECT_AFTER, changes.changed()).await;
                }
                _ if changes.changed().await.is_err() => return,
                _ => {}
            }
        }
    }

    /// Waits for a silence, and stands for election where most voters hear it too, until somebody leads.
    async fn follow(&self) {
        let consensus = &self.forward.consensus;
        let mut leads = consensus.leads_news();
        let Some(silence) = self.silence().await else { return };
        let before = leads.now();
        let mut patience = ELECT_FIRST;
        while consensus.standing() == Standing::Voter && self.forward.heard.at() == silence {
            let mut again = self.rng.lock().random_range(AGAIN_AFTER.0..AGAIN_AFTER.1);
            if self.canvass().await {
                consensus.elect().await;
                // Votes are written to disks, which may be slow.
                again *= patience;
                patience = (patience * 2).min(AGAIN_MOST);
            }
            if timeout(again, leads.other_than(before)).await.is_ok() {
                return;
            }
            self.miss();
        }
    }

    /// Takes the quorum for lost where it has been silent for too long.
    fn miss(&self) {
        let since = self.contact.since(self.forward.heard.at());
        if since.elapsed() >= LOST_AFTER && !self.forward.consensus.leads() {
            self.contact.lose(since, self.forward.consensus.voters());
        }
    }

    /// While the quorum is lost: looks for it, and counts who is left of it.
    async fn keep_contact(&self) {
        let mut changes = self.forward.consensus.raft().server_metrics();
        loop {
            self.contact.wait_lost().await;
            let mut survey = Instant::now();
            while self.contact.lost().is_some() {
                if Instant::now() >= survey {
                    self.forward.consensus.survey(&self.contact).await;
                    survey = Instant::now() + SURVEY_EVERY;
                }
                if timeout(PROBE_WITHIN, self.answers()).await.unwrap_or(false) {
                    self.contact.confirm(Instant::now());
                } else {
                    // A new leader is asked at once.
                    let _ = timeout(PROBE_EVERY, changes.changed()).await;
                }
            }
        }
    }

    /// Whether a leader answers that most voters confirm.
    async fn answers(&self) -> bool {
        match self.forward.read_index(&mut self.forward.search(), false).await {
            Ok(Some(_)) => true,
            Ok(None) => self.forward.consensus.read_index().await.is_ok(),
            Err(_) => false,
        }
    }

    /// Waits until the leader has not been heard for too long; gives when it was heard last. `None` where this node votes no
    /// more, or leads.
    async fn silence(&self) -> Option<Option<Instant>> {
        let heard = &self.forward.heard;
        let mut began = Instant::now();
        let jitter = self.rng.lock().random_range(Duration::ZERO..JITTER);
        while self.forward.consensus.standing() == Standing::Voter {
            let last = heard.at();
            let due = last.map_or(began, |last| last.max(began)) + ELECT_AFTER + STAGGER * self.rank() + jitter;
            let now = Instant::now();
            if now >= due {
                return Some(last);
            }
            let next = due.min(now + TICK);
            sleep_until(next).await;
            let late = Instant::now().saturating_duration_since(next);
            if late > STALLED {
                began += late;
                heard.excuse(late);
            }
        }
        None
    }

    /// How many voters are nearer to the last leader, in the order of their numbers, which begins behind it.
    fn rank(&self) -> u32 {
        let (own, leader) = (self.forward.consensus.id(), self.forward.heard.id().unwrap_or(0));
        let nearness = |id: u64| (id <= leader, id);
        let others = self.forward.consensus.other_voters();
        let nearer = others.iter().filter(|(id, _)| *id != leader && nearness(*id) < nearness(own));
        u32::try_from(nearer.count()).unwrap_or(u32::MAX)
    }

    /// Asks the other voters whether they would vote for this node: without that, one that comes back from a cut would
    /// disturb a healthy leader with its higher term. Where one of them knows that this replica was removed, it never stands.
    /// Answers soon after a majority would: somebody else may know better.
    async fn canvass(&self) -> bool {
        let consensus = &self.forward.consensus;
        let others = consensus.other_voters();
        let asker = consensus.asker();
        let request = PeerRequest::Canvass { last: consensus.wire().log.last(), asker };
        let ask = |target| async move { (target, consensus.wire().peers.call(target, request.clone()).await) };
        let mut asked: FuturesUnordered<_> = others.iter().map(|(_, target)| ask.clone()(target)).collect();
        let enough = others.len().div_ceil(2);
        let mut until = Instant::now() + CANVASS_WITHIN;
        let mut granted = 1;
        loop {
            match timeout_at(until, asked.next()).await {
                Ok(Some((_, Ok(PeerAnswer::Canvass(true))))) => {
                    granted += 1;
                    if granted > enough {
                        until = until.min(Instant::now() + VETO_WITHIN);
                    }
                }
                Ok(Some((target, Ok(PeerAnswer::Removed(removal)))))
                    if asker.as_ref().is_some_and(|asker| removal.concerns(asker)) =>
                {
                    self.contact.remove(&target.node);
                    return false;
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return granted > enough,
            }
        }
    }
}

const _: () = assert!(HEARTBEAT.as_millis() * 3 <= LEASE.as_millis());
const _: () = assert!(HEARTBEAT.as_millis() + LEASE.as_millis() <= ELECT_AFTER.as_millis());
