//! What comes in: from the first packet over the handshake to the protocol that was asked for.

use std::net::IpAddr;
use std::sync::Arc;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, Connection, Incoming};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::admit::Verdict;
use super::channel::{self, QuicChannel};
use super::counters::Event;
use super::endpoint::Shared;
use super::{ALPN_HTTP3, ALPN_JOIN, HANDSHAKE_TIMEOUT, code, transport};
use crate::mesh::join::{self, JoinDoor};
use crate::mesh::version::ALPN_PREFIX;

/// Takes connections until the port ends.
pub async fn run(shared: &Arc<Shared>, door: Arc<dyn JoinDoor>) {
    // Bounded by the slots for handshakes and join exchanges.
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            incoming = shared.quinn.accept() => match incoming {
                Some(incoming) => begin(shared, incoming, &door, &mut tasks),
                None => break,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// A slot for a handshake; given back when dropped.
struct Slot {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.unfinished.lock().leave(self.address);
    }
}

fn begin(shared: &Arc<Shared>, incoming: Incoming, door: &Arc<dyn JoinDoor>, tasks: &mut JoinSet<()>) {
    let address = incoming.remote_address().ip();
    let proved = incoming.remote_address_validated();
    let verdict = shared.unfinished.lock().enter(address, proved);
    match verdict {
        Verdict::Begin => {}
        Verdict::Prove => {
            shared.counters.add(Event::HandshakeRetried);
            // Fails only for an address that has proved itself, and this one has not.
            return drop(incoming.retry());
        }
        // An answer would only be more traffic; the peer sends its packet again by itself.
        Verdict::Shed => {
            shared.counters.add(Event::HandshakeShed);
            return incoming.ignore();
        }
        Verdict::Crowded => {
            shared.counters.add(Event::HandshakeCrowded);
            return incoming.ignore();
        }
    }
    let slot = Slot { shared: shared.clone(), address };
    match incoming.accept() {
        Ok(connecting) => drop(tasks.spawn(handshake(shared.clone(), connecting, slot, door.clone()))),
        Err(_) => shared.counters.add(Event::HandshakeFailed),
    }
}

async fn handshake(shared: Arc<Shared>, connecting: Connecting, slot: Slot, door: Arc<dyn JoinDoor>) {
    let outcome = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await;
    drop(slot);
    match outcome {
        Ok(Ok(connection)) => dispatch(&shared, connection, &*door).await,
        Ok(Err(error)) => {
            shared.counters.add(Event::HandshakeFailed);
            tracing::debug!(%error, "a handshake failed");
        }
        Err(_) => shared.counters.add(Event::HandshakeTimeout),
    }
}

async fn dispatch(shared: &Arc<Shared>, connection: Connection, door: &dyn JoinDoor) {
    let protocol = connection
        .handshake_data()
        .and_then(|found| found.downcast::<HandshakeData>().ok())
        .and_then(|found| found.protocol)
        .unwrap_or_default();
    match protocol.as_slice() {
        ALPN_JOIN => join(shared, &connection, door).await,
        ALPN_HTTP3 => http3(shared, connection),
        mesh if mesh.starts_with(ALPN_PREFIX) => peer(shared, connection).await,
        // TLS has refused what it was not told to take.
        _ => connection.close(code::PROTOCOL, b"unknown protocol"),
    }
}

async fn peer(shared: &Arc<Shared>, connection: Connection) {
    let chain = channel::chain(&connection);
    let peer = match shared.credentials.peer(&chain) {
        Ok(peer) => peer,
        Err(reason) => {
            shared.counters.add(Event::PeerUntrusted);
            tracing::debug!(from = %connection.remote_address(), reason, "not a node of this cluster");
            return connection.close(code::UNTRUSTED, b"not a node of this cluster");
        }
    };
    let busy = || {
        shared.counters.add(Event::PeerShed);
        connection.close(code::BUSY, b"too many connections");
    };
    let Ok(permit) = shared.peers.clone().try_acquire_owned() else { return busy() };
    transport::promote(&connection);
    let channel = QuicChannel::new(connection.clone(), peer, chain, permit, &shared.registry);
    if shared.accepted.try_send(channel).is_err() {
        return busy();
    }
    shared.counters.add(Event::PeerAccepted);
    // Tells the dialling side that it is let in: in TLS 1.3 its handshake ends before this side has read its certificate.
    let _ = tokio::time::timeout(HANDSHAKE_TIMEOUT, channel::welcome(&connection)).await;
}

fn http3(shared: &Arc<Shared>, connection: Connection) {
    transport::allow_many_streams(&connection);
    match shared.http3.try_send(connection) {
        Ok(()) => shared.counters.add(Event::Http3Accepted),
        Err(refused) => {
            shared.counters.add(Event::Http3Shed);
            refused.into_inner().close(code::HTTP3_BUSY, b"");
        }
    }
}

async fn join(shared: &Arc<Shared>, connection: &Connection, door: &dyn JoinDoor) {
    let from = connection.remote_address();
    let in_pace = shared.join_pace.lock().take(Instant::now(), super::admit::network(from.ip()));
    let permit = shared.joins.try_acquire();
    let (true, Ok(permit)) = (in_pace, permit) else {
        shared.counters.add(Event::JoinShed);
        return connection.close(code::BUSY, b"too many ask to join");
    };
    let outcome = join::serve(connection, door).await;
    drop(permit); // before the other side can know that its turn is over
    match outcome {
        Ok(()) => shared.counters.add(Event::JoinAnswered),
        Err(error) => {
            shared.counters.add(Event::JoinFailed);
            tracing::debug!(%from, %error, "a join exchange broke its bounds");
            connection.close(code::PROTOCOL, b"the exchange broke its bounds");
        }
    }
}
