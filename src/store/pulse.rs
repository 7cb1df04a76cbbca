//! What a replica does by itself for the cluster: says again what got lost, catches up after a start, and where there are
//! several voters sends heartbeats and stands for election. With one voter it sleeps, unless that is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::contact::{Contact, LOST_AFTER};
use super::forward::Forward;
use super::handle::Inner;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::raft::{LEASE, Standing};
use crate::model::Revision;
use crate::world::entropy::Rng;

/// Time between two heartbeats of a leader that has other voters; a third of the lease.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Least and greatest time without a word from the leader after which a voter stands for election, drawn anew each time.
const ELECT_AFTER: (Duration, Duration) = (Duration::from_millis(450), Duration::from_millis(900));
/// Bound on asking the other voters before.
const CANVASS_WITHIN: Duration = Duration::from_millis(200);
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
        if self.forward.leader().is_none() {
            return false;
        }
        match self.forward.read_index(true).await {
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
                    let _ = timeout(ELECT_AFTER.0, changes.changed()).await;
                }
                _ if changes.changed().await.is_err() => return,
                _ => {}
            }
        }
    }

    /// Waits for a silence, and stands for election where most voters hear it too.
    async fn follow(&self) {
        let patience = self.rng.lock().random_range(ELECT_AFTER.0..ELECT_AFTER.1);
        let began = Instant::now();
        let heard = self.forward.heard.at();
        sleep_until(heard.map_or(began, |heard| heard.max(began)) + patience).await;
        if self.forward.heard.at() == heard
            && self.forward.consensus.standing() == Standing::Voter
            && self.canvass().await
        {
            self.forward.consensus.elect().await;
        }
        self.miss();
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
        match self.forward.read_index(false).await {
            Ok(Some(_)) => true,
            Ok(None) => self.forward.consensus.read_index().await.is_ok(),
            Err(_) => false,
        }
    }

    /// Asks the other voters whether they would vote for this node: without that, one that comes back from a cut would
    /// disturb a healthy leader with its higher term. Where one of them knows that this replica was removed, it never stands.
    async fn canvass(&self) -> bool {
        let consensus = &self.forward.consensus;
        let others = consensus.other_voters();
        let asker = consensus.asker();
        let request = PeerRequest::Canvass { last: consensus.wire().log.last(), asker };
        let asked = others.iter().map(|(_, target)| {
            let call = consensus.wire().peers.call(target, request.clone());
            async { timeout(CANVASS_WITHIN, call).await }
        });
        let (mut granted, mut removed) = (1, false);
        for (answer, (_, target)) in join_all(asked).await.into_iter().zip(&others) {
            match (answer, &asker) {
                (Ok(Ok(PeerAnswer::Canvass(true))), _) => granted += 1,
                (Ok(Ok(PeerAnswer::Removed(removal))), Some(asker)) if removal.concerns(asker) => {
                    self.contact.remove(&target.node);
                    removed = true;
                }
                _ => {}
            }
        }
        !removed && granted > others.len().div_ceil(2)
    }
}

const _: () = assert!(HEARTBEAT.as_millis() * 3 <= LEASE.as_millis());
