//! How connections come to be: a handshake that needs both directions, and certificates that both sides accept.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::conn::{Conn, End};
use super::weather::RETRANSMIT;
use super::{ACCEPT_QUEUE, Event, Net, Slot};
use crate::mesh::fabric::DialError;
use crate::model::NodeId;
use crate::sim::mesh::authority::handshake;
use crate::sim::mesh::history::Opened;
use crate::sim::mesh::time::At;

/// A dial under way.
pub struct Dialling {
    from: Slot,
    life: u64,
    to: SocketAddr,
    peer: Option<NodeId>,
    outcome: Option<Result<u64, DialError>>,
    told: Arc<Notify>,
}

impl Net {
    /// Begins a dial; gives its number and who is told of its outcome.
    pub(in crate::sim::mesh) fn dial(
        &mut self,
        (from, life): (Slot, u64),
        to: SocketAddr,
        peer: Option<NodeId>,
        at: At,
    ) -> (u64, Arc<Notify>) {
        self.sequence += 1;
        let id = self.sequence;
        let told = Arc::new(Notify::new());
        self.dials.insert(id, Dialling { from, life, to, peer, outcome: None, told: Arc::clone(&told) });
        let way = self.sky.usual.reliable_way(&mut self.rng);
        self.schedule(at + way, Event::Dial { dial: id });
        (id, told)
    }

    /// What came of a dial, if it has an outcome; it is forgotten then.
    pub(in crate::sim::mesh) fn dial_outcome(&mut self, id: u64) -> Option<Result<u64, DialError>> {
        let outcome = self.dials.get_mut(&id)?.outcome.take()?;
        self.dials.remove(&id);
        Some(outcome)
    }

    /// The dialler no longer waits: a connection that was made for it is closed.
    pub(in crate::sim::mesh) fn abandon_dial(&mut self, id: u64, at: At) {
        if let Some(Dialling { outcome: Some(Ok(conn)), .. }) = self.dials.remove(&id) {
            self.close(conn, 0, at, "not wanted any more");
            self.mark_dropped(conn, 0);
        }
    }

    /// Nobody holds an end of a connection any more.
    pub(in crate::sim::mesh) fn mark_dropped(&mut self, conn: u64, side: usize) {
        if let Some(conn) = self.conn_mut(conn) {
            conn.end_mut(side).dropped = true;
        }
        self.forget(conn);
    }

    /// The first packet of a dial is at the other machine, or would be.
    pub(super) fn dial_arrives(&mut self, id: u64) {
        let Some(dial) = self.dials.get(&id) else { return };
        let (from, to) = (dial.from, dial.to);
        let listens = |slot: &Slot| self.hosts.get(slot).is_some_and(|host| host.up && !host.frozen && host.at == to);
        let target = self.hosts.keys().copied().find(listens);
        let open = |slot: &Slot| self.sky.is_open(from, *slot) && self.sky.is_open(*slot, from);
        let weather = target.map(|slot| self.sky.between(slot, from));
        match (target.filter(open), weather) {
            (Some(slot), Some(weather)) => {
                let outcome = self.handshake(id, slot);
                let way = weather.reliable_way(&mut self.rng);
                if let Some(dial) = self.dials.get_mut(&id) {
                    dial.outcome = Some(outcome);
                }
                self.schedule(self.now + way, Event::Dialled { dial: id });
            }
            _ => self.schedule(self.now + RETRANSMIT, Event::Dial { dial: id }),
        }
    }

    /// The answer is back.
    pub(super) fn dial_answered(&mut self, id: u64) {
        if let Some(dial) = self.dials.get(&id) {
            dial.told.notify_waiters();
        }
    }

    fn handshake(&mut self, id: u64, target: Slot) -> Result<u64, DialError> {
        let refused = |at: SocketAddr, reason: String| DialError::Refused { at, reason };
        let (Some(dial), Some(accepter)) = (self.dials.get(&id), self.hosts.get(&target)) else {
            return Err(DialError::Unreachable(SocketAddr::from(([0, 0, 0, 0], 0))));
        };
        let Some(dialler) = self.hosts.get(&dial.from).filter(|host| host.up && host.life == dial.life) else {
            return Err(DialError::Unreachable(dial.to));
        };
        let (to, now) = (dial.to, self.now);
        // Whoever dials an address alone learns the name there.
        let expected = dial.peer.as_ref().unwrap_or(accepter.papers.node());
        let judged = handshake(&dialler.papers, &accepter.papers, expected);
        if let Err(reason) = judged {
            self.counts.refused += 1;
            return Err(refused(to, reason));
        }
        if accepter.accepts.len() >= ACCEPT_QUEUE {
            return Err(refused(to, "too many connections wait".into()));
        }
        self.opened.push(Opened::between(now, dial.from, dialler, target, accepter));
        let ends = [
            End::new(dial.from, dialler.life, dialler.papers.node().clone(), dialler.at),
            End::new(target, accepter.life, accepter.papers.node().clone(), accepter.at),
        ];
        self.sequence += 1;
        let conn = self.sequence;
        self.conns.insert(conn, Conn { ends, unwell: None });
        self.counts.connections += 1;
        if let Some(accepter) = self.hosts.get_mut(&target) {
            accepter.accepts.push_back(conn);
            accepter.accepted.notify_waiters();
        }
        Ok(conn)
    }
}
