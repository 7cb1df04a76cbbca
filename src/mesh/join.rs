//! Joining a cluster: what a new node asks a seed, what it is answered, and how both travel. Who is let in is decided
//! elsewhere.
//!
//! Rooms: `message` the two messages; `exchange` their way over QUIC; `pace` how often one address may ask.
//!
//! An exchange is one QUIC connection with [`super::quic::ALPN_JOIN`], on it one stream: the new node writes its request
//! and ends its direction, the seed answers and ends its own. The new node has no certificate yet; it knows the seed by
//! the fingerprint of the cluster's authority, the seed knows it by the secret of its token.

mod exchange;
mod message;
mod pace;

#[cfg(test)]
mod tests;

pub use exchange::{EXCHANGE_TIMEOUT, Error, JoinDoor, MAX_ANSWER, MAX_REQUEST, ServeError, Shut, ask, serve};
pub use message::{
    Admission, Capacity, DecodeError, JOIN_PROTOCOL, JoinAnswer, JoinRefusal, JoinRequest, MAX_PEERS, Network,
    TokenFault, decode, encode,
};
pub use pace::Pace;
