//! What the two ends of a connection share, and an end as a channel.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::pipe::{Pipe, Receiver, Sender};
use super::{HELD_FOR, LOST_AFTER, Wiring};
use crate::mesh::fabric::{Channel, Close, Duplex, Lost};
use crate::model::NodeId;

/// Streams that wait to be accepted by one end.
const STREAM_BACKLOG: usize = 64;
/// Datagrams that wait at one end; a further one is dropped.
const DATAGRAM_BACKLOG: usize = 256;
/// Largest datagram.
const MAX_DATAGRAM: usize = 1200;

/// A connection; up until it fails, once.
pub struct Connection {
    wiring: Arc<dyn Wiring>,
    /// The one that dialled first.
    ends: [(NodeId, SocketAddr); 2],
    lost: watch::Sender<Option<Lost>>,
    pipes: Mutex<Vec<Weak<Pipe>>>,
}

impl Connection {
    pub fn new(wiring: Arc<dyn Wiring>, ends: [(NodeId, SocketAddr); 2]) -> Arc<Self> {
        Arc::new(Self { wiring, ends, lost: watch::Sender::new(None), pipes: Mutex::default() })
    }

    pub fn is_up(&self) -> bool {
        self.lost.borrow().is_none()
    }

    pub fn joins(&self, one: &NodeId, other: &NodeId) -> bool {
        let [(dialler, _), (listener, _)] = &self.ends;
        (dialler == one && listener == other) || (dialler == other && listener == one)
    }

    /// Ends it; everything on it fails at both ends.
    pub fn fail(&self, why: &str) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert_with(|| Lost(why.to_owned()));
            first
        });
        let pipes = std::mem::take(&mut *self.pipes.lock());
        for pipe in pipes.iter().filter_map(Weak::upgrade) {
            pipe.wake();
        }
    }

    /// How long bytes take from the end `from`; `None` while they are held back.
    pub fn passage(&self, from: usize) -> Option<Duration> {
        let (from, to) = self.way(from);
        self.wiring.stream(from, to)
    }

    fn way(&self, from: usize) -> (&NodeId, &NodeId) {
        let [(dialler, _), (listener, _)] = &self.ends;
        if from == 0 { (dialler, listener) } else { (listener, dialler) }
    }

    fn pipe(self: &Arc<Self>, from: usize) -> Arc<Pipe> {
        let pipe = Pipe::new(self, from);
        let mut pipes = self.pipes.lock();
        if pipes.len() == pipes.capacity() {
            pipes.retain(|pipe| pipe.strong_count() > 0);
        }
        pipes.push(Arc::downgrade(&pipe));
        pipe
    }

    async fn lost(&self) -> Lost {
        let mut lost = self.lost.subscribe();
        let known = lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        known.unwrap_or_else(|| Lost("it is gone".to_owned()))
    }
}

type Datagrams = mpsc::Receiver<(Instant, Bytes)>;

struct End {
    connection: Arc<Connection>,
    /// 0 for the one that dialled.
    side: usize,
    peer: (NodeId, SocketAddr),
    streams: mpsc::Sender<Duplex>,
    opened: tokio::sync::Mutex<mpsc::Receiver<Duplex>>,
    datagrams: mpsc::Sender<(Instant, Bytes)>,
    received: tokio::sync::Mutex<(Datagrams, Option<(Instant, Bytes)>)>,
}

/// The dialling end and the other.
pub fn ends(connection: &Arc<Connection>) -> (Arc<dyn Channel>, Arc<dyn Channel>) {
    let [dialler, listener] = connection.ends.clone();
    let (near_streams, far_opened) = mpsc::channel(STREAM_BACKLOG);
    let (far_streams, near_opened) = mpsc::channel(STREAM_BACKLOG);
    let (near_datagrams, far_received) = mpsc::channel(DATAGRAM_BACKLOG);
    let (far_datagrams, near_received) = mpsc::channel(DATAGRAM_BACKLOG);
    let end = |side, peer, streams, opened, datagrams, received| {
        let opened = tokio::sync::Mutex::new(opened);
        let received = tokio::sync::Mutex::new((received, None));
        Arc::new(End { connection: connection.clone(), side, peer, streams, opened, datagrams, received })
    };
    let near = end(0, listener, near_streams, near_opened, near_datagrams, near_received);
    let far = end(1, dialler, far_streams, far_opened, far_datagrams, far_received);
    (near, far)
}

#[async_trait]
impl Channel for End {
    fn peer(&self) -> &NodeId {
        &self.peer.0
    }

    fn remote(&self) -> SocketAddr {
        self.peer.1
    }

    fn round_trip(&self) -> Duration {
        let way = |from| self.connection.passage(from).unwrap_or_default();
        way(0) + way(1)
    }

    async fn open(&self) -> Result<Duplex, Lost> {
        let there = self.connection.pipe(self.side);
        let back = self.connection.pipe(1 - self.side);
        let join = |send: &Arc<Pipe>, receive: &Arc<Pipe>| Duplex {
            send: Box::new(Sender(send.clone())),
            receive: Box::new(Receiver { pipe: receive.clone(), alarm: None }),
        };
        let (near, far) = (join(&there, &back), join(&back, &there));
        tokio::select! {
            biased;
            lost = self.connection.lost() => Err(lost),
            sent = self.streams.send(far) => sent.map(|()| near).map_err(|_| Lost("the other end is gone".to_owned())),
        }
    }

    async fn accept(&self) -> Result<Duplex, Lost> {
        tokio::select! {
            biased;
            lost = self.connection.lost() => Err(lost),
            Some(duplex) = async { self.opened.lock().await.recv().await } => Ok(duplex),
        }
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), Lost> {
        if let Some(lost) = &*self.connection.lost.borrow() {
            return Err(lost.clone());
        }
        let (from, to) = self.connection.way(self.side);
        if datagram.len() <= MAX_DATAGRAM {
            for delay in self.connection.wiring.datagram(from, to) {
                let _ = self.datagrams.try_send((Instant::now() + delay, datagram.clone()));
            }
        }
        Ok(())
    }

    fn max_datagram(&self) -> usize {
        MAX_DATAGRAM
    }

    async fn datagram(&self) -> Result<Bytes, Lost> {
        let next = async {
            let mut received = self.received.lock().await;
            let (queue, waiting) = &mut *received;
            if waiting.is_none() {
                *waiting = queue.recv().await;
            }
            if let Some((at, _)) = waiting {
                sleep_until(*at).await;
            }
            waiting.take().map(|(_, datagram)| datagram)
        };
        tokio::select! {
            biased;
            lost = self.connection.lost() => Err(lost),
            Some(datagram) = next => Ok(datagram),
        }
    }

    fn close(&self, why: Close) {
        self.connection.fail(&format!("{} closed it: {why:?}", self.connection.way(self.side).0));
    }

    async fn closed(&self) -> Lost {
        let held = async {
            let mut since = Instant::now();
            while since.elapsed() < LOST_AFTER {
                sleep(HELD_FOR * 50).await;
                if [0, 1].iter().all(|side| self.connection.passage(*side).is_some()) {
                    since = Instant::now();
                }
            }
        };
        tokio::select! {
            biased;
            lost = self.connection.lost() => lost,
            () = held => {
                self.connection.fail("nothing got through");
                self.connection.lost().await
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.connection.fail("the other end is gone");
    }
}
