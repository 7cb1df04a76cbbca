//! Who is there, how to reach them, who they are: so that the rest says `call(address, message)` and never thinks about
//! networks.
//!
//! Rooms: `identity` certificates, tokens, the cluster's authority; `fabric` connections as traits; `address`, `exports`
//! and `handle` calls between actors of any node; `version` which releases understand each other; `member` what gossip
//! knows.

pub mod address;
pub mod exports;
pub mod fabric;
pub mod gossip;
pub mod handle;
pub mod identity;
pub mod join;
pub mod links;
pub mod member;
pub mod membership;
pub mod memory;
pub mod mutant;
pub mod quic;
pub mod version;
pub mod wire;
