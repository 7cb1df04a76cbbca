//! Whether a quorum answers, as this replica knows it: when a leader was last heard, since when none is, and whether the
//! cluster has gone on without this replica.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::raft::Standing;
use super::{Error, Store};
use crate::model::Revision;

/// A quorum that has not answered for so long is taken for lost. Reads wait at most this long for it, and not at all once
/// the loss is known. Longer than elections take.
pub const LOST_AFTER: Duration = Duration::from_secs(2);

/// A write waits so long for a quorum that is known to be lost: it may be about to come back.
const REGAINED_WITHIN: Duration = Duration::from_millis(750);

/// The quorum does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// When a leader was last heard.
    pub since: Instant,
    /// Voters that answer, this replica among them where it votes; `None` before they were asked.
    pub reachable: Option<u32>,
    /// Voters of the last known membership.
    pub voters: u32,
}

impl Lost {
    /// As the error of a write. `unknown`: whether it may have been made all the same.
    pub fn error(&self, unknown: bool) -> Error {
        let reachable = self.reachable.unwrap_or(0).min(self.voters);
        Error::NoQuorum { reachable, voters: self.voters, unknown }
    }
}

/// How recent a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It sees every write that was acknowledged before it was asked for.
    Newest(Revision),
    /// The quorum is lost: it sees what this replica has.
    Stale(Silence),
}

/// How long a replica has heard no quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// How long.
    pub lasts: Duration,
    /// Whether that is all the time since it started: what it has may then be older by any time that it did not run.
    pub since_start: bool,
}

/// What a replica knows of its quorum.
pub struct Contact {
    lost: watch::Sender<Option<Lost>>,
    /// When the quorum last answered a question of this replica, or the replica started.
    confirmed: Mutex<Instant>,
    /// Whether it ever answered one.
    answered: AtomicBool,
    /// Who said that the cluster has gone on without this replica.
    removed: watch::Sender<Option<String>>,
}

impl Contact {
    /// As of a start.
    pub fn new(now: Instant) -> Self {
        let (lost, removed) = (watch::Sender::default(), watch::Sender::default());
        Self { lost, confirmed: Mutex::new(now), answered: AtomicBool::new(false), removed }
    }

    /// The loss, where one is known.
    pub fn lost(&self) -> Option<Lost> {
        *self.lost.borrow()
    }

    /// Waits until the quorum is lost.
    pub async fn wait_lost(&self) {
        let _ = self.lost.subscribe().wait_for(Option::is_some).await;
    }

    /// When the quorum was last known to be there; `heard` is a leader's last message.
    pub fn since(&self, heard: Option<Instant>) -> Instant {
        let confirmed = *self.confirmed.lock();
        heard.map_or(confirmed, |heard| heard.max(confirmed))
    }

    /// Notes the loss of a quorum of `voters` that was last there at `since`. The first loss stays.
    pub fn lose(&self, since: Instant, voters: u32) {
        let noted = self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(Lost { since, reachable: None, voters });
            first
        });
        if noted {
            tracing::warn!(voters, "no quorum answers: reads may be stale, writes are refused until it is back");
        }
    }

    /// Notes how many of the voters answer.
    pub fn count(&self, reachable: u32, voters: u32) {
        self.lost.send_if_modified(|lost| {
            if let Some(lost) = lost {
                (lost.reachable, lost.voters) = (Some(reachable), voters);
            }
            false
        });
    }

    /// The quorum has answered.
    pub fn confirm(&self, now: Instant) {
        *self.confirmed.lock() = now;
        self.answered.store(true, Ordering::Relaxed);
        // Every read comes by: only a loss is worth a lock that keeps the others out.
        if self.lost.borrow().is_none() {
            return;
        }
        if self.lost.send_if_modified(|lost| lost.take().is_some()) {
            tracing::info!("the quorum answers again");
        }
    }

    /// Notes that `by` knows a cluster that has gone on without this replica.
    pub fn remove(&self, by: &str) {
        self.removed.send_if_modified(|removed| {
            let first = removed.is_none();
            removed.get_or_insert(by.to_owned());
            first
        });
    }

    /// Whether somebody said so.
    pub fn is_removed(&self) -> bool {
        self.removed.borrow().is_some()
    }

    /// Waits until somebody says so.
    pub async fn removed(&self) -> String {
        let mut removed = self.removed.subscribe();
        let by = removed.wait_for(Option::is_some).await.ok().and_then(|by| by.clone());
        match by {
            Some(by) => by,
            None => std::future::pending().await,
        }
    }
}

impl Store {
    /// Like [`Store::barrier`], but without a quorum it says how stale reads here are: after [`LOST_AFTER`] the first time,
    /// at once while the loss is known. A replica that has nothing yet has no stale reads either.
    ///
    /// # Errors
    /// As [`Store::barrier`], other than for a lost quorum.
    pub async fn refresh(&self) -> Result<Freshness, Error> {
        if self.inner.contact.lost().is_none() {
            match timeout(LOST_AFTER, self.barrier()).await {
                Ok(Ok(revision)) => return Ok(Freshness::Newest(revision)),
                Ok(Err(Error::Unavailable | Error::NoQuorum { .. })) | Err(_) => self.lose(),
                Ok(Err(error)) => return Err(error),
            }
        }
        self.check_alive()?;
        match self.inner.contact.lost() {
            _ if self.revision() == Revision(0) => Err(Error::Unavailable),
            Some(lost) => Ok(Freshness::Stale(self.silence(lost))),
            // It came back just now.
            None => self.barrier().await.map(Freshness::Newest),
        }
    }

    fn silence(&self, lost: Lost) -> Silence {
        let heard = self.inner.forward.heard.at().is_some() || self.inner.contact.answered.load(Ordering::Relaxed);
        Silence { lasts: lost.since.elapsed(), since_start: !heard }
    }

    /// How often this cluster was recovered, as far as this replica knows.
    pub fn recoveries(&self) -> u64 {
        self.inner.log.recovery()
    }

    /// Since when no quorum answers; `None` while one does, as far as known.
    pub fn lost(&self) -> Option<Lost> {
        self.inner.contact.lost()
    }

    /// Waits until a member says that the cluster has gone on without this replica; gives who said it. Its log is of no
    /// use any more: the node needs a new number.
    pub async fn removed(&self) -> String {
        self.inner.contact.removed().await
    }

    /// Refuses where the quorum is known to be lost.
    pub(super) fn refuse_lost(&self) -> Result<(), Error> {
        self.inner.contact.lost().map_or(Ok(()), |lost| Err(lost.error(false)))
    }

    /// Refuses where the quorum is known to be lost and does not come back within [`REGAINED_WITHIN`].
    pub(super) async fn check_quorum(&self) -> Result<(), Error> {
        if self.inner.contact.lost().is_none() {
            return Ok(());
        }
        let mut lost = self.inner.contact.lost.subscribe();
        let _ = timeout(REGAINED_WITHIN, lost.wait_for(Option::is_none)).await;
        self.refuse_lost()
    }

    /// `error` as it reads where the quorum is lost.
    pub(super) fn explained(&self, error: Error) -> Error {
        match (&error, self.inner.contact.lost()) {
            (Error::Unavailable, Some(lost)) if self.check_alive().is_ok() => lost.error(true),
            _ => error,
        }
    }

    /// Takes the quorum for lost. The only voter is its own quorum.
    pub(super) fn lose(&self) {
        let consensus = &self.inner.consensus;
        if !(consensus.standing() == Standing::Leader && consensus.is_only_voter()) {
            let since = self.inner.contact.since(self.inner.forward.heard.at());
            self.inner.contact.lose(since, consensus.voters());
        }
    }
}
