//! Connections: two ends, each with what has arrived for it and why it is over.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use tokio::sync::Notify;

use super::pipe::{Chunk, Pipe};
use super::{DATAGRAM_BYTES, Event, Net, Side, Slot};
use crate::mesh::fabric::Lost;
use crate::model::NodeId;
use crate::sim::mesh::time::At;

/// How much later than others a reordered datagram arrives, at most.
const REORDER_MS: u64 = 80;

/// A connection.
pub struct Conn {
    /// Who dialled, who accepted.
    pub ends: [End; 2],
    /// Since when nothing comes through in some direction.
    pub unwell: Option<At>,
}

/// One end of a connection.
pub struct End {
    /// Its machine.
    pub slot: Slot,
    /// The life of its process.
    pub life: u64,
    /// Its name, by its certificate.
    pub name: NodeId,
    /// Where it is.
    pub at: SocketAddr,
    /// Why the connection is over, as this end knows.
    pub lost: Option<String>,
    /// Nobody holds this end any more.
    pub dropped: bool,
    /// Datagrams that have arrived.
    pub datagrams: VecDeque<Bytes>,
    /// Streams that the peer has opened: the pipe to read and the one to write.
    pub streams: VecDeque<(u64, u64)>,
    /// Told of datagrams.
    pub got_datagram: Arc<Notify>,
    /// Told of streams.
    pub got_stream: Arc<Notify>,
    /// Told of the end.
    pub ended: Arc<Notify>,
}

impl Conn {
    /// One end. Sides are 0 and 1.
    pub fn end(&self, side: Side) -> &End {
        let [dialled, accepted] = &self.ends;
        if side == 0 { dialled } else { accepted }
    }

    /// One end. Sides are 0 and 1.
    pub fn end_mut(&mut self, side: Side) -> &mut End {
        let [dialled, accepted] = &mut self.ends;
        if side == 0 { dialled } else { accepted }
    }
}

impl End {
    /// An end that nothing has arrived at.
    pub fn new(slot: Slot, life: u64, name: NodeId, at: SocketAddr) -> Self {
        let notify = || Arc::new(Notify::new());
        Self {
            slot,
            life,
            name,
            at,
            lost: None,
            dropped: false,
            datagrams: VecDeque::new(),
            streams: VecDeque::new(),
            got_datagram: notify(),
            got_stream: notify(),
            ended: notify(),
        }
    }
}

impl Net {
    pub(in crate::sim::mesh) fn conn(&self, id: u64) -> Option<&Conn> {
        self.conns.get(&id)
    }

    pub(in crate::sim::mesh) fn conn_mut(&mut self, id: u64) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    pub(in crate::sim::mesh) fn pipe_mut(&mut self, id: u64) -> Option<&mut Pipe> {
        self.pipes.get_mut(&id)
    }

    /// Why an end is over, if it is; one that is no longer known is.
    pub(in crate::sim::mesh) fn lost(&self, id: u64, side: Side) -> Option<Lost> {
        match self.conns.get(&id) {
            None => Some(Lost("it is over".into())),
            Some(conn) => conn.end(side).lost.clone().map(Lost),
        }
    }

    /// The mean round trip of the path, as a connection would have measured it.
    pub(in crate::sim::mesh) fn round_trip(&self, id: u64) -> Duration {
        self.conns.get(&id).map_or(Duration::ZERO, |conn| {
            let [dialled, accepted] = &conn.ends;
            let there = self.sky.between(dialled.slot, accepted.slot).round_trip();
            let back = self.sky.between(accepted.slot, dialled.slot).round_trip();
            (there + back) / 2
        })
    }

    /// Opens a stream from `side`; gives the pipe to write and the one to read.
    pub(in crate::sim::mesh) fn open_stream(&mut self, conn: u64, side: Side) -> Result<(u64, u64), Lost> {
        if let Some(lost) = self.lost(conn, side) {
            return Err(lost);
        }
        self.sequence += 2;
        let (out, back) = (self.sequence - 1, self.sequence);
        self.pipes.insert(out, Pipe::new(conn, side, Some(back)));
        self.pipes.insert(back, Pipe::new(conn, 1 - side, None));
        Ok((out, back))
    }

    /// Puts a datagram on its way, or loses it.
    pub(in crate::sim::mesh) fn send_datagram(
        &mut self,
        id: u64,
        side: Side,
        at: At,
        bytes: &Bytes,
    ) -> Result<(), Lost> {
        if let Some(lost) = self.lost(id, side) {
            return Err(lost);
        }
        let Some(conn) = self.conns.get(&id) else { return Ok(()) };
        let weather = self.sky.between(conn.end(side).slot, conn.end(1 - side).slot);
        let through = self.comes_through(conn, side);
        self.counts.datagrams += 1;
        if bytes.len() > DATAGRAM_BYTES || !through || self.rng.random_bool(weather.loss) {
            self.counts.dropped += 1;
            return Ok(());
        }
        let twice = self.rng.random_bool(weather.duplicate);
        for _ in 0..=usize::from(twice) {
            let mut due = at + weather.way(&mut self.rng);
            if self.rng.random_bool(weather.reorder) {
                due += Duration::from_millis(self.rng.random_range(1..=REORDER_MS));
            }
            self.schedule(due, Event::Datagram { conn: id, to: 1 - side, bytes: bytes.clone() });
        }
        self.counts.duplicated += u64::from(twice);
        Ok(())
    }

    /// Writes to a pipe; `None` where the writer must wait.
    pub(in crate::sim::mesh) fn write(&mut self, pipe: u64, at: At, bytes: &[u8]) -> Option<usize> {
        let room = self.pipes.get(&pipe)?.room().min(bytes.len());
        let taken = bytes.get(..room).filter(|taken| !taken.is_empty())?;
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            pipe.held_bytes += room;
        }
        self.send_chunk(pipe, at, Chunk::Bytes(Bytes::copy_from_slice(taken)));
        Some(room)
    }

    /// Ends a pipe, in order or not.
    pub(in crate::sim::mesh) fn end_pipe(&mut self, pipe: u64, at: At, in_order: bool) {
        self.send_chunk(pipe, at, if in_order { Chunk::End } else { Chunk::Reset });
    }

    /// The reader of a pipe is gone: the writer will be told.
    pub(in crate::sim::mesh) fn stop_pipe(&mut self, id: u64, at: At) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        if pipe.ended.is_none() && self.is_alive(pipe.conn, 1 - pipe.writer) {
            self.schedule(at + Duration::from_millis(1), Event::Stopped { pipe: id });
        }
    }

    /// A half of a pipe has no owner any more; forgets the pipe once none has.
    pub(in crate::sim::mesh) fn release_pipe(&mut self, id: u64, writing: bool) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if writing {
            pipe.owned.0 = false;
        } else {
            pipe.owned.1 = false;
        }
        if pipe.owned == (false, false) && pipe.under_way.is_empty() {
            self.pipes.remove(&id);
        }
    }

    /// This side ends the connection; the other learns it if packets still come through.
    pub(in crate::sim::mesh) fn close(&mut self, id: u64, side: Side, at: At, why: &str) {
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.end(side).lost.is_none()) else { return };
        let way = self.sky.between(conn.end(side).slot, conn.end(1 - side).slot).reliable_way(&mut self.rng);
        let told = self.comes_through(conn, side);
        self.lose(id, side, format!("closed here: {why}"));
        if told {
            self.schedule(
                at + way,
                Event::Closed { conn: id, side: 1 - side, why: format!("closed by the peer: {why}") },
            );
        }
    }

    /// Marks an end as over and wakes everybody who waits there.
    pub(super) fn lose(&mut self, id: u64, side: Side, why: String) {
        let Some(end) = self.conns.get_mut(&id).map(|conn| conn.end_mut(side)) else { return };
        if end.lost.is_some() {
            return;
        }
        end.lost = Some(why);
        end.datagrams.clear();
        end.streams.clear();
        for notify in [&end.got_datagram, &end.got_stream, &end.ended] {
            notify.notify_waiters();
        }
        for pipe in self.pipes.values_mut().filter(|pipe| pipe.conn == id) {
            self.wakers.extend(pipe.reader_waker.take());
            self.wakers.extend(pipe.writer_waker.take());
        }
        self.forget(id);
    }

    /// Forgets a connection that is over and held by nobody.
    pub(in crate::sim::mesh) fn forget(&mut self, id: u64) {
        let over = |conn: &Conn| conn.ends.iter().all(|end| end.lost.is_some() && end.dropped);
        if self.conns.get(&id).is_some_and(over) {
            self.conns.remove(&id);
            self.pipes.retain(|_, pipe| pipe.conn != id);
        }
    }
}
