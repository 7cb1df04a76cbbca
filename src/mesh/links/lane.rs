//! The caller's side of a class stream: calls out, answers in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::link::{Busy, Link};
use super::pipe::{self, ReadError};
use super::queue::{Full, Queue};
use crate::mesh::address::{Class, Failure, Refusal};
use crate::mesh::fabric::{Close, Lost};
use crate::mesh::mutant::mutant;
use crate::mesh::version::spoken;
use crate::mesh::wire::Frame;

/// What comes back for a call or a watch.
pub type Reply = Result<Bytes, Refusal>;

/// How a question on a lane ended without a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The link ended before the question was put into its queue: it may be asked again elsewhere.
    NotSent,
    /// Anything else.
    Failure(Failure),
}

/// One class's stream, opened at its first use.
pub struct Lane {
    class: Class,
    queue: Arc<Queue>,
    started: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    ended: bool,
    next: u64,
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
}

impl Lane {
    pub fn new(class: Class) -> Self {
        Self { class, queue: Arc::new(Queue::new(class)), started: AtomicBool::new(false), waiting: Mutex::default() }
    }

    /// Everybody who waits has lost.
    pub fn end(&self) {
        self.queue.end();
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        let replies = std::mem::take(&mut waiting.replies);
        drop(waiting);
        drop(replies);
    }

    /// Sends a frame that nobody waits for, where there is room.
    pub fn cast(&self, link: &Arc<Link>, frame: &Frame) -> Result<(), Unanswered> {
        self.start(link);
        link.touch();
        self.queue.try_push(frame).map_err(|full| self.unanswered(link, full, frame))?;
        link.context.counters.frames_sent.of(self.class).add_one();
        Ok(())
    }

    /// Sends the question that `ask` makes for its number and waits for the reply. Dropping it before takes the
    /// question back.
    pub async fn ask(
        &self,
        link: &Arc<Link>,
        until: Option<Instant>,
        ask: impl FnOnce(u64) -> Frame,
    ) -> Result<Reply, Unanswered> {
        let (id, reply) = self.register().ok_or(Unanswered::NotSent)?;
        self.start(link);
        let mut question = Question { id, lane: self, sent: None, _busy: link.busy() };
        let frame = ask(id);
        let pushed = match self.queue.try_push(&frame) {
            Err(Full::NoRoom) => within(until, self.queue.push(&frame)).await.unwrap_or(Err(Full::NoRoom)),
            other => other,
        };
        pushed.map_err(|full| self.unanswered(link, full, &frame))?;
        link.context.counters.frames_sent.of(self.class).add_one();
        question.sent = Some(matches!(frame, Frame::Watch { .. }));
        drop(frame);
        match within(until, reply).await {
            Some(Ok(reply)) => {
                question.sent = None;
                Ok(reply)
            }
            Some(Err(_)) if mutant("lose-call-on-disconnect") => std::future::pending().await,
            Some(Err(_)) => Err(Unanswered::Failure(Failure::Lost(link.peer.clone()))),
            None => Err(Unanswered::Failure(Failure::Timeout)),
        }
    }

    fn unanswered(&self, link: &Link, full: Full, frame: &Frame) -> Unanswered {
        match full {
            Full::Ended => Unanswered::NotSent,
            Full::NoRoom => {
                link.context.counters.shed.of(self.class).add_one();
                Unanswered::Failure(Failure::Shed(link.peer.clone()))
            }
            Full::TooLarge => {
                let text = format!("{} bytes are more than a {:?} message may have", frame.payload(), self.class);
                Unanswered::Failure(Refusal::Failed(text).into())
            }
        }
    }

    fn register(&self) -> Option<(u64, oneshot::Receiver<Reply>)> {
        let (reply, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return None;
        }
        waiting.next += 1;
        let id = waiting.next;
        waiting.replies.insert(id, reply);
        Some((id, receiver))
    }

    fn start(&self, link: &Arc<Link>) {
        if !self.started.load(Ordering::Acquire) && !self.started.swap(true, Ordering::AcqRel) {
            link.tasks.spawn(carry(link.clone(), self.class, self.queue.clone()));
        }
    }

    fn reply(&self, link: &Link, id: u64, reply: Reply) {
        let mut waiting = self.waiting.lock();
        let id = if mutant("wrong-id") { waiting.replies.keys().next().copied().unwrap_or(id) } else { id };
        let asked = waiting.replies.remove(&id);
        drop(waiting);
        if asked.is_none_or(|asked| asked.send(reply).is_err()) {
            link.context.counters.late_answers.add_one();
        }
    }
}

async fn within<F: Future>(until: Option<Instant>, future: F) -> Option<F::Output> {
    match until {
        Some(until) => timeout_at(until, future).await.ok(),
        None => Some(future.await),
    }
}

/// A question on its way. Where it is dropped without a reply, the other side is told.
struct Question<'a> {
    id: u64,
    lane: &'a Lane,
    /// Whether it was sent and not answered; whether it is a watch.
    sent: Option<bool>,
    _busy: Busy,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.lane.waiting.lock().replies.remove(&self.id);
        if let Some(watch) = self.sent {
            let id = self.id;
            let frame = if watch { Frame::Unwatch { id } } else { Frame::Cancel { id } };
            // Where there is no room the other side's own deadline ends the call.
            let _ = self.lane.queue.try_push(&frame);
        }
    }
}

/// Opens the stream and carries it; the link does not outlive it.
async fn carry(link: Arc<Link>, class: Class, queue: Arc<Queue>) {
    let why = match converse(&link, class, queue).await {
        Ok(()) | Err(ReadError::Ended(_)) => Close::Stopping,
        Err(ReadError::Frame(error)) => {
            link.context.counters.malformed.add_one();
            tracing::warn!(peer = %link.peer, ?class, %error, "a peer's answers cannot be read");
            Close::Refused
        }
    };
    link.end(why);
}

async fn converse(link: &Arc<Link>, class: Class, queue: Arc<Queue>) -> Result<(), ReadError> {
    let mut duplex = link.channel.open().await.map_err(|Lost(why)| std::io::Error::other(why))?;
    duplex.send.set_priority(pipe::priority(class));
    let hello = Frame::Hello { protocol: spoken().newest, class, generation: link.context.generation };
    pipe::write_one(&hello, &mut *duplex.send).await?;
    let writer = link.clone();
    link.tasks.spawn(async move {
        let _ = pipe::write(&queue, &mut *duplex.send).await;
        writer.end(Close::Stopping);
    });
    let mut reader = pipe::Reader::new(class, duplex.receive);
    loop {
        let frame = reader.next().await?;
        link.context.counters.frames_received.of(class).add_one();
        let lane = link.lane(class);
        match frame {
            Frame::Answer { id, body } => lane.reply(link, id, Ok(body)),
            Frame::Refused { id, refusal } => lane.reply(link, id, Err(refusal)),
            Frame::Ended { id } => lane.reply(link, id, Ok(Bytes::new())),
            Frame::Hello { generation, .. } => {
                link.generation.send_replace(Some(generation));
            }
            _ => return Err(super::serve::OUT_OF_PLACE.into()),
        }
    }
}
