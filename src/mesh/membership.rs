//! Who is alive: SWIM (foca) with Lifeguard's local health, as a core without I/O and its driver.
//!
//! foca holds the members and their order of preference, refutes, renews, and spreads news (its gossip and its custom
//! broadcasts). Three things are done beside it, because measuring showed that it must be so:
//! - `detector` asks who lives, instead of foca's probe, which tells everybody of a suspicion as soon as one cycle
//!   fails: with a fifth of datagrams lost that is one in thirteen, and refuting them all would fill the network. It
//!   first asks again and through others in silence, goes on asking while it suspects, and its times may be stretched
//!   by local health, which foca's cannot once it runs.
//! - `sync` compares what two members know, instead of foca's announce and feed, which give a newcomer some random
//!   names and no metadata.
//! - a member is a number to foca (`roster`), because it compares members all the time.
//!
//! `core` takes inputs and gives effects (`effect`), `frames` is its reading half, `telling` what this node says of itself, `wire`
//! the bytes, `driver` the task. What a node is sure to remember: a tombstone's number never comes back to life, since
//! only a larger number replaces it, and only the node itself takes a larger number.
//!
//! A node that is cut off holds everybody else for dead after a while, and must not have the others believe it once it
//! is back: what it declares while it hears less than half of those that it asks it tells only the members themselves,
//! who then take a larger number; and nobody believes of a member that has just spoken to it that it is dead, but
//! suspects it, so that it can refute.

mod core;
mod detector;
mod driver;
mod effect;
mod frames;
pub mod generation;
mod roster;
mod settings;
mod swim;
mod sync;
mod telling;
mod wire;

pub use core::Membership;
pub use driver::{Carrier, Command, MAX_COMMANDS, run};
pub use effect::{Acquaintance, Counts, Effect, Recipient, Seed, TooLarge};
pub use settings::{MAX_AHEAD, MAX_DATAGRAM, MAX_HEALTH, MAX_MEMBERS, MAX_SEEDS, Settings};

use super::member::Meta;
use crate::model::{NodeId, Timestamp};

/// Reads a datagram from a member as a node would: for fuzzing. Never panics, whatever the bytes are.
pub fn fuzz(bytes: &[u8]) {
    let (me, peer) = (NodeId("me".into()), NodeId("peer".into()));
    let now = Timestamp(1_000_000);
    let Ok(mut node) = Membership::new(&me, 1, Meta::default(), Settings::default(), 1, now) else { return };
    node.received(now, &peer, bytes);
    if let Some(due) = node.next_due() {
        node.due(due);
    }
    node.received(now, &peer, bytes);
    let _ = node.drain().count();
    let _ = node.view();
}

#[cfg(test)]
mod tests;
