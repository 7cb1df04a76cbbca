//! The answering side: streams that a peer opens, and the calls on them.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::link::{Busy, Link};
use super::pipe::{self, ReadError};
use super::queue::{Full, Queue};
use super::relay;
use crate::mesh::address::{Class, Refusal};
use crate::mesh::exports::Calls;
use crate::mesh::fabric::{Close, Duplex};
use crate::mesh::mutant::mutant;
use crate::mesh::version::spoken;
use crate::mesh::wire::{Frame, FrameError};

/// Most streams that a peer may have open, those of classes included.
pub const MAX_STREAMS: usize = 256;
/// A stream whose first frame is not here by then is dropped.
pub const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of requests under way of one peer and class; one request is always taken.
pub const MAX_UNDER_WAY_BYTES: usize = 16 << 20;
/// Most actors that one peer may watch.
pub const MAX_WATCHES: usize = 1024;
/// A connection ends when an answer finds no room for this long.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);

/// A frame that has no business where it came.
pub const OUT_OF_PLACE: FrameError = FrameError::Malformed("a frame has no business there");

/// Most calls under way of one peer.
pub const fn max_under_way(class: Class) -> usize {
    match class {
        Class::Raft => 64,
        Class::Control => 512,
        Class::Watch => MAX_WATCHES,
        Class::Bulk => 64,
    }
}

/// Takes a stream that the peer has opened, or drops it where too many are open.
pub fn incoming(link: &Arc<Link>, duplex: Duplex) {
    if link.streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
        link.streams.fetch_sub(1, Ordering::Relaxed);
        link.context.counters.streams_dropped.add_one();
        return;
    }
    let open = Open(link.clone());
    link.tasks.spawn(async move {
        let link = open.0.clone();
        if let Err(ReadError::Frame(error)) = greet(&link, duplex).await {
            link.context.counters.malformed.add_one();
            tracing::warn!(peer = %link.peer, %error, "a peer's stream cannot be read");
            link.end(Close::Refused);
        }
        drop(open);
    });
}

/// Counts an open stream.
struct Open(Arc<Link>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn greet(link: &Arc<Link>, mut duplex: Duplex) -> Result<(), ReadError> {
    let Ok(first) = timeout(FIRST_FRAME_WITHIN, pipe::read_one(&mut *duplex.receive)).await else { return Ok(()) };
    match first? {
        Frame::Hello { class, generation, .. } => {
            link.generation.send_replace(Some(generation));
            let bit = 1 << (pipe::priority(class));
            if link.served.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
                return Err(FrameError::Malformed("a second stream of one class").into());
            }
            let outcome = serve_class(link, class, duplex).await;
            // A class stream lives as long as its connection.
            link.end(if matches!(outcome, Err(ReadError::Frame(_))) { Close::Refused } else { Close::Stopping });
            outcome
        }
        Frame::Open { actor, class, version, deadline_ms, body } => {
            let _busy = link.busy();
            duplex.send.set_priority(pipe::priority(class));
            let wait = Duration::from_millis(deadline_ms.into());
            serve_bytes(link, duplex, &actor, version, body, wait).await?;
            Ok(())
        }
        _ => Err(OUT_OF_PLACE.into()),
    }
}

async fn serve_bytes(
    link: &Link,
    mut duplex: Duplex,
    actor: &str,
    version: u16,
    header: Bytes,
    wait: Duration,
) -> std::io::Result<()> {
    let granted = match link.context.exports.streams(actor, version) {
        Err(refusal) => Err(refusal),
        Ok(_) if relay::needs_direct(actor) && link.channel.is_relayed() => {
            link.context.counters.relays_refused.add_one();
            Err(Refusal::Forbidden("what is relayed itself is not carried on".to_owned()))
        }
        Ok(streams) => match timeout(wait, streams.open(&link.peer, version, header)).await {
            Ok(granted) => granted,
            Err(_) => return Ok(()),
        },
    };
    match granted {
        Ok(mut stream) => {
            pipe::write_one(&Frame::Granted { body: stream.grant() }, &mut *duplex.send).await?;
            link.context.counters.streams_served.add_one();
            stream.serve(duplex).await;
            Ok(())
        }
        Err(refusal) => {
            link.context.counters.refused.of(&refusal).add_one();
            pipe::write_one(&Frame::Refused { id: 0, refusal }, &mut *duplex.send).await?;
            duplex.send.shutdown().await
        }
    }
}

/// A class stream of the peer.
struct Served {
    link: Arc<Link>,
    class: Class,
    queue: Queue,
    /// Calls and watches that can be taken back. `None` for a moment, while the task starts.
    under_way: Mutex<BTreeMap<u64, Option<AbortHandle>>>,
    count: AtomicUsize,
    bytes: AtomicUsize,
}

async fn serve_class(link: &Arc<Link>, class: Class, mut duplex: Duplex) -> Result<(), ReadError> {
    let served = Arc::new(Served {
        link: link.clone(),
        class,
        queue: Queue::new(class),
        under_way: Mutex::default(),
        count: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
    });
    duplex.send.set_priority(pipe::priority(class));
    let _ = served.reply(Frame::Hello { protocol: spoken().newest, class, generation: link.context.generation }).await;
    let writer = served.clone();
    link.tasks.spawn(async move {
        let _ = pipe::write(&writer.queue, &mut *duplex.send).await;
        writer.link.end(Close::Stopping);
    });
    let mut reader = pipe::Reader::new(class, duplex.receive);
    loop {
        let frame = reader.next().await?;
        link.context.counters.frames_received.of(class).add_one();
        link.touch();
        served.take(frame).await?;
    }
}

impl Served {
    async fn take(self: &Arc<Self>, frame: Frame) -> Result<(), FrameError> {
        match frame {
            Frame::Call { id, actor, version, deadline_ms, body } => {
                let wait = Duration::from_millis(deadline_ms.into());
                match self.admit(&actor, version, &body) {
                    Ok((calls, slot)) => self.call(id, calls, body, wait, slot)?,
                    Err(refusal) => self.refuse(id, refusal).await,
                }
            }
            Frame::Cast { actor, version, body } => match self.admit(&actor, version, &body) {
                Ok((calls, slot)) => self.cast(calls, body, slot),
                Err(refusal) => self.drop_cast(&refusal),
            },
            Frame::Watch { id, actor } => self.watch(id, &actor).await?,
            Frame::Cancel { id } | Frame::Unwatch { id } => {
                // The entry goes with the task.
                if let Some(Some(task)) = self.under_way.lock().get(&id) {
                    task.abort();
                }
            }
            _ => return Err(OUT_OF_PLACE),
        }
        Ok(())
    }

    fn admit(self: &Arc<Self>, actor: &str, version: u16, body: &Bytes) -> Result<(Arc<dyn Calls>, Slot), Refusal> {
        let slot = self.slot(body.len())?;
        Ok((self.link.context.exports.calls(actor, version)?, slot))
    }

    fn slot(self: &Arc<Self>, bytes: usize) -> Result<Slot, Refusal> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let already = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let slot = Slot { served: self.clone(), id: None, bytes, _busy: self.link.busy() };
        if count >= max_under_way(self.class) || (already > 0 && already + bytes > MAX_UNDER_WAY_BYTES) {
            return Err(Refusal::Busy);
        }
        Ok(slot)
    }

    /// Starts a task that can be taken back as `id`.
    fn begin(
        self: &Arc<Self>,
        id: u64,
        mut slot: Slot,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), FrameError> {
        if self.under_way.lock().insert(id, None).is_some() {
            return Err(FrameError::Malformed("a number is used twice"));
        }
        slot.id = Some(id);
        let started = self.link.tasks.spawn(async move {
            task.await;
            drop(slot);
        });
        if let Some(entry) = self.under_way.lock().get_mut(&id) {
            *entry = started;
        }
        Ok(())
    }

    fn call(
        self: &Arc<Self>,
        id: u64,
        calls: Arc<dyn Calls>,
        body: Bytes,
        wait: Duration,
        slot: Slot,
    ) -> Result<(), FrameError> {
        self.link.context.counters.calls_served.add_one();
        let served = self.clone();
        self.begin(id, slot, async move {
            if mutant("handle-twice") {
                let _ = calls.answer(&served.link.peer, body.clone()).await;
            }
            let work = AssertUnwindSafe(calls.answer(&served.link.peer, body)).catch_unwind();
            match timeout(wait, work).await {
                Ok(Ok(Ok(body))) => served.answer(id, body).await,
                Ok(Ok(Err(refusal))) => served.refuse(id, refusal).await,
                Ok(Err(_)) => {
                    served.link.context.counters.panics.add_one();
                    served.refuse(id, Refusal::Failed("the actor failed at it unexpectedly".to_owned())).await;
                }
                // The caller's own time is over too.
                Err(_) => {}
            }
        })
    }

    fn cast(self: &Arc<Self>, calls: Arc<dyn Calls>, body: Bytes, slot: Slot) {
        let served = self.clone();
        self.link.tasks.spawn(async move {
            if let Err(refusal) = calls.answer(&served.link.peer, body).await {
                served.drop_cast(&refusal);
            }
            drop(slot);
        });
    }

    fn drop_cast(&self, refusal: &Refusal) {
        let counters = &self.link.context.counters;
        counters.refused.of(refusal).add_one();
        if *refusal == Refusal::Busy {
            counters.shed.of(self.class).add_one();
        }
    }

    async fn watch(self: &Arc<Self>, id: u64, actor: &str) -> Result<(), FrameError> {
        let Some(gone) = self.link.context.exports.gone(actor) else {
            let _ = self.reply(Frame::Ended { id }).await;
            return Ok(());
        };
        match self.slot(0) {
            Ok(slot) => {
                let served = self.clone();
                self.begin(id, slot, async move {
                    gone.cancelled().await;
                    let _ = served.reply(Frame::Ended { id }).await;
                })
            }
            Err(refusal) => {
                self.refuse(id, refusal).await;
                Ok(())
            }
        }
    }

    async fn answer(&self, id: u64, body: Bytes) {
        if self.reply(Frame::Answer { id, body }).await == Err(Full::TooLarge) {
            self.refuse(id, Refusal::Failed("the answer is larger than its class allows".to_owned())).await;
        }
    }

    async fn refuse(&self, id: u64, refusal: Refusal) {
        self.link.context.counters.refused.of(&refusal).add_one();
        let _ = self.reply(Frame::Refused { id, refusal }).await;
    }

    /// Puts a reply into the queue. A peer that reads nothing for long loses its connection.
    async fn reply(&self, frame: Frame) -> Result<(), Full> {
        let pushed = match self.queue.try_push(&frame) {
            Err(Full::NoRoom) => timeout(STALLED_AFTER, self.queue.push(&frame)).await.unwrap_or(Err(Full::NoRoom)),
            other => other,
        };
        match pushed {
            Ok(()) => self.link.context.counters.frames_sent.of(self.class).add_one(),
            Err(Full::NoRoom) => {
                self.link.context.counters.stalled.add_one();
                self.link.end(Close::Refused);
            }
            Err(Full::TooLarge | Full::Ended) => {}
        }
        pushed
    }
}

/// A place among the calls under way; free again when dropped.
struct Slot {
    served: Arc<Served>,
    id: Option<u64>,
    bytes: usize,
    _busy: Busy,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.served.count.fetch_sub(1, Ordering::Relaxed);
        self.served.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(id) = self.id {
            self.served.under_way.lock().remove(&id);
        }
    }
}
