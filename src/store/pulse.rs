//! What a replica does by itself for the cluster: says again what got lost, catches up after a start, and where there are
//! several voters sends heartbeats and stands for election. With one voter it sleeps.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

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

struct Pulse {
    forward: Forward,
    applied: Arc<watch::Sender<Revision>>,
    caught_up: Arc<watch::Sender<bool>>,
    rng: Mutex<Rng>,
}

/// Starts it; it ends with the store.
pub(super) fn start(inner: &Inner, rng: Rng) {
    let pulse = Pulse {
        forward: inner.forward.clone(),
        applied: inner.applied.clone(),
        caught_up: inner.caught_up.clone(),
        rng: Mutex::new(rng),
    };
    let mut stop = inner.failed.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = stop.wait_for(Option::is_some) => {}
            _ = async { tokio::join!(pulse.remind(), pulse.catch_up(), pulse.elections()) } => {}
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
                return;
            }
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
                }
                Standing::Voter if !alone => self.follow().await,
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
    }

    /// Asks the other voters whether they would vote for this node: without that, one that comes back from a cut would
    /// disturb a healthy leader with its higher term.
    async fn canvass(&self) -> bool {
        let consensus = &self.forward.consensus;
        let others = consensus.other_voters();
        let request = PeerRequest::Canvass { last: consensus.wire().log.last() };
        let asked = others.iter().map(|(_, target)| {
            let call = consensus.wire().peers.call(target, request.clone());
            async { matches!(timeout(CANVASS_WITHIN, call).await, Ok(Ok(PeerAnswer::Canvass(true)))) }
        });
        let granted = 1 + join_all(asked).await.into_iter().filter(|granted| *granted).count();
        granted > others.len().div_ceil(2)
    }
}

const _: () = assert!(HEARTBEAT.as_millis() * 3 <= LEASE.as_millis());
