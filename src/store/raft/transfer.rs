//! A snapshot on its way to another replica, in chunks. Sender and receiver hold a few chunks beside the state itself.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use openraft::{Snapshot, SnapshotMeta, Vote};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::peers::{PeerAnswer, PeerRequest, Peers};
use super::{Peer, Types};
use crate::store::mvcc::Image;
use crate::store::table::image::{Decoder, Encoder, ReadError};

/// Bytes of a chunk, at most.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Times that a chunk is sent before the transfer is given up; openraft begins another later.
const ATTEMPTS: u32 = 5;
/// Bound on a chunk's way and back.
const CHUNK_WITHIN: Duration = Duration::from_secs(10);
/// Bound on the last one's, which is answered once the receiver has made all of it durable.
const INSTALL_WITHIN: Duration = Duration::from_mins(2);
/// A transfer that got nothing for so long is forgotten when the next one comes to ask.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// Names a transfer: the sender's term and a count within it, never used twice in a cluster.
pub type TransferId = (u64, u64);

/// A piece of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chunk {
    /// The transfer that it belongs to.
    pub transfer: TransferId,
    /// Where it begins.
    pub offset: u64,
    /// At most [`CHUNK_BYTES`].
    pub bytes: Bytes,
    /// With the last one: what all of them are.
    pub end: Option<End>,
}

/// What a whole snapshot is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct End {
    /// The sender's vote.
    pub vote: Vote<u64>,
    /// Raft's description.
    pub meta: SnapshotMeta<u64, Peer>,
}

/// Sends a snapshot to a replica, by its number, its node and how often its cluster was recovered; gives the receiver's vote once it has installed it.
///
/// # Errors
/// Where a chunk does not get through, or the receiver lost the thread.
pub async fn send(
    peers: &dyn Peers,
    target: (u64, &Peer, u64),
    transfer: TransferId,
    vote: Vote<u64>,
    snapshot: Snapshot<Types>,
) -> io::Result<Vote<u64>> {
    let mut encoder = Encoder::new(*snapshot.snapshot);
    let mut pending = Bytes::new();
    let mut offset = 0;
    let mut more = true;
    loop {
        while more && pending.len() < CHUNK_BYTES {
            match encoder.next_frame()? {
                Some(frame) => pending = [&pending[..], &frame[..]].concat().into(),
                None => more = false,
            }
        }
        let bytes = pending.split_to(CHUNK_BYTES.min(pending.len()));
        let last = !more && pending.is_empty();
        let end = last.then(|| End { vote, meta: snapshot.meta.clone() });
        let reached = offset + bytes.len() as u64;
        let answered = deliver(peers, target, Chunk { transfer, offset, bytes, end }).await?;
        match answered {
            (_, Some(vote)) if last => return Ok(vote),
            (taken, _) if taken == reached && !last => offset = reached,
            _ => return Err(io::Error::other("the receiver lost the thread of a snapshot")),
        }
    }
}

async fn deliver(
    peers: &dyn Peers,
    (to, target, recovery): (u64, &Peer, u64),
    chunk: Chunk,
) -> io::Result<(u64, Option<Vote<u64>>)> {
    let within = if chunk.end.is_some() { INSTALL_WITHIN } else { CHUNK_WITHIN };
    let mut failed = io::Error::from(io::ErrorKind::TimedOut);
    for attempt in 1..=ATTEMPTS {
        let request = PeerRequest::Chunk { to, chunk: chunk.clone(), recovery };
        match timeout(within, peers.call(target, request)).await {
            Ok(Ok(PeerAnswer::Chunk { taken, vote })) => return Ok((taken, vote)),
            Ok(Ok(answer)) => return Err(io::Error::other(format!("a snapshot was refused: {answer:?}"))),
            Ok(Err(error)) => failed = error,
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(50) * attempt).await;
    }
    Err(failed)
}

/// What has come of a snapshot so far. One at a time: a new one replaces it.
#[derive(Default)]
pub struct Receiver(Mutex<Option<Incoming>>);

struct Incoming {
    from: String,
    transfer: TransferId,
    taken: u64,
    decoder: Decoder,
    touched: Instant,
}

/// What became of a chunk.
pub enum Taken {
    /// So many bytes are here without a gap; more must come, from there.
    More(u64),
    /// That was all.
    Whole(u64, Box<Image>, End),
}

impl Receiver {
    /// Takes in a chunk that `from` sent.
    ///
    /// # Errors
    /// Where the bytes are no image; the transfer is forgotten then.
    pub fn take(&self, from: &str, chunk: Chunk, now: Instant) -> Result<Taken, ReadError> {
        let mut slot = self.0.lock();
        let known = slot.as_ref().is_some_and(|incoming| incoming.from == from && incoming.transfer == chunk.transfer);
        if !known && chunk.offset == 0 {
            let (from, transfer) = (from.to_owned(), chunk.transfer);
            *slot = Some(Incoming { from, transfer, taken: 0, decoder: Decoder::default(), touched: now });
        }
        let Some(incoming) = slot.as_mut().filter(|_| known || chunk.offset == 0) else { return Ok(Taken::More(0)) };
        incoming.touched = now;
        if chunk.offset != incoming.taken {
            // One that came before, whose answer was lost, or one that is ahead.
            return Ok(Taken::More(incoming.taken));
        }
        if let Err(error) = incoming.decoder.push(&chunk.bytes) {
            *slot = None;
            return Err(error);
        }
        incoming.taken += chunk.bytes.len() as u64;
        let taken = incoming.taken;
        let Some(end) = chunk.end else { return Ok(Taken::More(taken)) };
        let Some(incoming) = slot.take() else { return Ok(Taken::More(taken)) };
        Ok(Taken::Whole(taken, Box::new(incoming.decoder.finish()?), end))
    }

    /// Forgets a transfer that its sender has given up.
    pub fn expire(&self, now: Instant) {
        let stale = |incoming: &mut Incoming| now.duration_since(incoming.touched) >= FORGET_AFTER;
        self.0.lock().take_if(stale);
    }
}
