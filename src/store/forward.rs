//! What only the leader can do, asked of it from anywhere: writes, and the read index. Whoever asks goes on through every
//! change of leaders until its patience ends, and is woken by the news of a leader.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Error;
use super::raft::peers::{PeerAnswer, PeerRequest};
use super::raft::{Consensus, Lead, Leads, Peer};
use crate::model::Revision;

/// First wait before the same leader is asked again; it doubles. The news of another one ends it.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Voters that are asked in turn who leads; more are never there.
const MAX_TURNS: usize = 64;
/// Longest such wait.
const RETRY_MOST: Duration = Duration::from_millis(250);
/// An answer that takes longer is asked for again: its message may be lost.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(2);
/// Hints that are followed one after the other without a wait: two nodes may take each other for the leader.
const HINTS: u32 = 2;

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

    /// The number of the leader that was heard last.
    pub fn id(&self) -> Option<u64> {
        self.0.lock().as_ref().map(|(id, _, _)| *id)
    }

    /// Does not count a time in which this node could not hear anybody.
    pub fn excuse(&self, deaf: Duration) {
        if let Some((_, _, at)) = self.0.lock().as_mut() {
            *at = (*at + deaf).min(Instant::now());
        }
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
    /// Whether this node, which leads, takes nothing because it hands over.
    pub yields: Arc<watch::Sender<bool>>,
}

/// Who has to do it.
pub enum At {
    /// This node: it leads.
    Here,
    /// The node that leads.
    Node(String),
}

/// A search for a leader that does what is asked. It ends with the patience.
pub struct Search<'a> {
    forward: &'a Forward,
    leads: Leads,
    until: Instant,
    wait: Duration,
    /// Who was asked last; nobody before the first attempt.
    asked: Option<Option<Lead>>,
    hint: Option<String>,
    hints: u32,
    /// Which voter is asked where nobody is known to lead.
    turn: usize,
}

/// Takes writes again once it is dropped.
pub struct Yielding(Arc<watch::Sender<bool>>);

impl Drop for Yielding {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Forward {
    /// The node that leads, as far as this one knows.
    pub fn leader(&self) -> Option<String> {
        let (id, node) = self.consensus.leader()?;
        node.or_else(|| self.heard.node(id))
    }

    /// Whether this node leads and takes what is asked of a leader.
    pub fn serves(&self) -> bool {
        self.consensus.leads() && !*self.yields.borrow()
    }

    /// Takes nothing more, as the leader that is, until what is returned is dropped. Whoever asks meanwhile waits.
    pub fn hold(&self) -> Yielding {
        self.yields.send_replace(true);
        Yielding(self.yields.clone())
    }

    /// Begins to look for a leader.
    pub fn search(&self) -> Search<'_> {
        let until = Instant::now() + self.patience;
        let leads = self.consensus.leads_news();
        Search { forward: self, leads, until, wait: RETRY_FIRST, asked: None, hint: None, hints: 0, turn: 0 }
    }

    /// The revision that a linearizable read here must wait for; `None` where this node leads and must find it itself.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nobody answered in time.
    pub async fn read_index(&self, search: &mut Search<'_>, remind: bool) -> Result<Option<Revision>, Error> {
        loop {
            let At::Node(node) = search.next().await? else { return Ok(None) };
            let follows = self.consensus.follows();
            match search.call(&node, PeerRequest::ReadIndex { remind, follows }).await {
                Some(Ok(PeerAnswer::ReadIndex(Ok(revision)))) => return Ok(Some(revision)),
                Some(Ok(PeerAnswer::NotLeader(leader))) => search.follow(leader),
                _ => {}
            }
        }
    }
}

impl Search<'_> {
    /// Who is to be asked now. After the first time it waits: for another leader than the one that was asked, or a while
    /// before the same is asked again.
    ///
    /// # Errors
    /// [`Error::Unavailable`] once the patience is at an end.
    pub async fn next(&mut self) -> Result<At, Error> {
        loop {
            let hint = self.hint.take().filter(|node| *node != self.forward.node);
            if self.asked.is_some() && hint.is_none() {
                self.pause().await?;
            }
            self.asked = Some(self.leads.now());
            if self.forward.serves() {
                return Ok(At::Here);
            }
            let known = || self.forward.leader().filter(|node| *node != self.forward.node);
            if let Some(node) = hint.or_else(known).or_else(|| self.any_voter()) {
                return Ok(At::Node(node));
            }
        }
    }

    /// Where nobody is known to lead, as after a start, any voter may know who does: one after the other.
    fn any_voter(&mut self) -> Option<String> {
        let others = self.forward.consensus.other_voters();
        self.turn += 1;
        others.into_iter().cycle().nth(self.turn % MAX_TURNS).map(|(_, peer)| peer.node)
    }

    /// Asks `leader` next, where it is known.
    pub fn follow(&mut self, leader: Option<String>) {
        if leader.is_some() && self.hints < HINTS {
            self.hints += 1;
            self.hint = leader;
        }
    }

    /// Carries `request` to `node`. `None` where it was not worth to wait any longer: another one leads now, or the time is
    /// up. It may have been done then.
    pub async fn call(&mut self, node: &str, request: PeerRequest) -> Option<io::Result<PeerAnswer>> {
        let target = Peer::on(node);
        let call = self.forward.consensus.wire().peers.call(&target, request);
        let within = self.until.min(Instant::now() + ATTEMPT_WITHIN);
        let news = self.leads.other_than(self.asked.flatten());
        tokio::select! {
            biased;
            answer = timeout_at(within, call) => answer.ok(),
            _ = news => None,
        }
    }

    /// Does `work` on this node, which leads. `None` as [`Search::call`]; the only voter waits as long as it takes.
    pub async fn here<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.forward.consensus.is_only_voter() {
            return Some(work.await);
        }
        let asked = self.asked.get_or_insert_with(|| self.leads.now());
        let news = self.leads.other_than(*asked);
        tokio::select! {
            biased;
            done = timeout_at(self.until, work) => done.ok(),
            _ = news => None,
        }
    }

    /// Waits for `work` until the patience is at an end.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.until, work).await.ok()
    }

    async fn pause(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if now >= self.until {
            return Err(Error::Unavailable);
        }
        let again = (now + self.wait).min(self.until);
        let mut yields = self.forward.yields.subscribe();
        let held = *yields.borrow_and_update() && self.forward.consensus.leads();
        let news = self.leads.other_than(self.asked.flatten());
        let fresh = tokio::select! {
            biased;
            () = news => true,
            changed = yields.changed(), if held => changed.is_ok(),
            () = sleep_until(again) => false,
        };
        if fresh {
            (self.wait, self.hints) = (RETRY_FIRST, 0);
        } else {
            self.wait = (self.wait * 2).min(RETRY_MOST);
        }
        if Instant::now() >= self.until { Err(Error::Unavailable) } else { Ok(()) }
    }
}
