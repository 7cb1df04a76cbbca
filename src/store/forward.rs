//! What only the leader can do, asked of it from anywhere: writes, and the read index.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Error;
use super::mutant::mutant;
use super::raft::peers::{PeerAnswer, PeerRequest, never_arrived};
use super::raft::{Consensus, Peer};
use crate::model::Revision;

/// First wait before the leader is asked again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Longest such wait.
const RETRY_MOST: Duration = Duration::from_millis(250);

/// Who was last heard to lead, and when.
#[derive(Default)]
pub struct Heard(Mutex<Option<(u64, String, Instant)>>);

impl Heard {
    /// Notes a message of leader `id` on `node`.
    pub fn note(&self, id: u64, node: &str, now: Instant) {
        let mut heard = self.0.lock();
        match &mut *heard {
            Some((known, name, at)) if *known == id && name == node => *at = now,
            other => *other = Some((id, node.to_owned(), now)),
        }
    }

    /// Notes that the leader on `node` is at work.
    pub fn touch(&self, node: &str, now: Instant) {
        if let Some((_, _, at)) = self.0.lock().as_mut().filter(|(_, known, _)| known == node) {
            *at = now;
        }
    }

    /// When a leader was last heard.
    pub fn at(&self) -> Option<Instant> {
        self.0.lock().as_ref().map(|(_, _, at)| *at)
    }

    /// The node of leader `id`, where it was the last one heard.
    fn node(&self, id: u64) -> Option<String> {
        self.0.lock().as_ref().filter(|(known, _, _)| *known == id).map(|(_, node, _)| node.clone())
    }
}

/// Finds the leader and asks it.
#[derive(Clone)]
pub struct Forward {
    /// The local replica.
    pub consensus: Consensus,
    /// Who leads, as its own messages say.
    pub heard: Arc<Heard>,
    /// This node.
    pub node: String,
    /// Bound on finding a leader and its answer.
    pub patience: Duration,
}

/// Who has to do it.
pub enum At {
    /// This node: it leads.
    Here,
    /// The leader has answered.
    Leader(PeerAnswer),
}

impl Forward {
    /// The node that leads, as far as this one knows.
    pub fn leader(&self) -> Option<String> {
        let (id, node) = self.consensus.leader()?;
        node.or_else(|| self.heard.node(id))
    }

    /// Asks the leader, looking for it until the patience is at an end. `again`: whether asking twice is harmless;
    /// otherwise it is asked again only where it certainly was not reached, or did not lead.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nobody leads, or no answer came; it may have been done then.
    pub async fn ask(&self, request: &PeerRequest, again: bool) -> Result<At, Error> {
        let again = again || mutant("retry-lost-write");
        let until = Instant::now() + self.patience;
        let mut wait = RETRY_FIRST;
        let mut hint = None;
        loop {
            if self.consensus.leads() {
                return Ok(At::Here);
            }
            if let Some(node) = hint.take().or_else(|| self.leader()).filter(|node| *node != self.node) {
                match self.call(node, request.clone(), until).await {
                    Some(Ok(PeerAnswer::NotLeader(leader))) => hint = leader,
                    Some(Ok(PeerAnswer::Failed)) if again => {}
                    Some(Ok(answer)) => return Ok(At::Leader(answer)),
                    Some(Err(error)) if again || never_arrived(&error) => {}
                    Some(Err(_)) | None => return Err(Error::Unavailable),
                }
            }
            if Instant::now() + wait >= until {
                return Err(Error::Unavailable);
            }
            sleep_until(Instant::now() + wait).await;
            wait = (wait * 2).min(RETRY_MOST);
        }
    }

    async fn call(&self, node: String, request: PeerRequest, until: Instant) -> Option<std::io::Result<PeerAnswer>> {
        let target = Peer { node };
        timeout_at(until, self.consensus.wire().peers.call(&target, request)).await.ok()
    }

    /// The revision that a linearizable read here must wait for; `None` where this node leads and must find it itself.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn read_index(&self, remind: bool) -> Result<Option<Revision>, Error> {
        match self.ask(&PeerRequest::ReadIndex { remind }, true).await? {
            At::Here => Ok(None),
            At::Leader(PeerAnswer::ReadIndex(revision)) => revision.map(Some),
            At::Leader(_) => Err(Error::Unavailable),
        }
    }
}
