//! What arrives when time goes on, and which connections have died of silence.

use super::weather::RETRANSMIT;
use super::{DATAGRAM_QUEUE, Event, HEALTH_EVERY, IDLE_TIMEOUT, Net, Side};
use crate::sim::mesh::time::At;
use bytes::Bytes;

impl Net {
    /// Lets everything happen that is due at `to`.
    pub(super) fn step(&mut self, to: At) {
        while let Some(first) = self.events.first_entry().filter(|first| first.key().0 <= to) {
            let ((due, _), event) = first.remove_entry();
            self.now = self.now.max(due);
            self.happen(event);
        }
        self.now = to;
        if to >= self.next_health {
            self.next_health = to + HEALTH_EVERY;
            self.look_after_connections();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { conn, to, bytes } => self.datagram_arrives(conn, to, bytes),
            Event::Chunk { pipe } => self.chunk_arrives(pipe),
            Event::Stopped { pipe } => {
                if let Some(pipe) = self.pipes.get_mut(&pipe) {
                    pipe.stopped = true;
                    let waker = pipe.writer_waker.take();
                    self.wakers.extend(waker);
                }
            }
            Event::Dial { dial } => self.dial_arrives(dial),
            Event::Dialled { dial } => self.dial_answered(dial),
            Event::Closed { conn, side, why } => self.lose(conn, side, why),
        }
    }

    fn datagram_arrives(&mut self, id: u64, to: Side, bytes: Bytes) {
        if !self.is_alive(id, to) {
            self.counts.dropped += 1;
            return;
        }
        let Some(end) = self.conns.get_mut(&id).map(|conn| conn.end_mut(to)) else { return };
        if end.lost.is_some() || end.datagrams.len() >= DATAGRAM_QUEUE {
            self.counts.dropped += 1;
            return;
        }
        end.datagrams.push_back(bytes);
        end.got_datagram.notify_waiters();
    }

    fn chunk_arrives(&mut self, id: u64) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        let (conn_id, reader) = (pipe.conn, 1 - pipe.writer);
        let Some(conn) = self.conns.get(&conn_id) else { return };
        if conn.end(reader).lost.is_some() || !self.is_alive(conn_id, reader) {
            return;
        }
        if !self.comes_through(conn, pipe.writer) {
            // Sent again until the path is open, or the connection dies of silence.
            return self.schedule(self.now + RETRANSMIT, Event::Chunk { pipe: id });
        }
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let announced = pipe.announces.take();
        let waker = pipe.arrive();
        let next = pipe.under_way.front().map(|(due, _)| *due);
        self.wakers.extend(waker);
        if let Some(due) = next {
            self.schedule(due, Event::Chunk { pipe: id });
        }
        if let (Some(back), Some(conn)) = (announced, self.conns.get_mut(&conn_id)) {
            let end = conn.end_mut(reader);
            end.streams.push_back((id, back));
            end.got_stream.notify_waiters();
        }
        if self.pipes.get(&id).is_some_and(|pipe| pipe.owned == (false, false) && pipe.under_way.is_empty()) {
            self.pipes.remove(&id);
        }
    }

    fn look_after_connections(&mut self) {
        let mut lost = Vec::new();
        let mut dead = Vec::new();
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        for id in ids {
            let Some(conn) = self.conns.get(&id) else { continue };
            let awake = |side: Side| {
                let end = conn.end(side);
                self.hosts.get(&end.slot).is_some_and(|host| host.up && !host.frozen && host.life == end.life)
            };
            let well = awake(0)
                && awake(1)
                && conn.ends.iter().all(|end| end.lost.is_none())
                && self.comes_through(conn, 0)
                && self.comes_through(conn, 1);
            let since = if well { None } else { Some(conn.unwell.unwrap_or(self.now)) };
            let over = since.is_some_and(|since| self.now.saturating_sub(since) >= IDLE_TIMEOUT);
            for side in 0..2 {
                if !self.is_alive(id, side) {
                    dead.push((id, side));
                }
                if over && conn.end(side).lost.is_none() {
                    lost.push((id, side));
                }
            }
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.unwell = since;
            }
        }
        for (id, side) in lost {
            self.counts.idled += 1;
            self.lose(id, side, "nothing was heard for too long".into());
        }
        for (id, side) in dead {
            self.lose(id, side, "its process is gone".into());
            self.mark_dropped(id, side);
        }
    }
}
