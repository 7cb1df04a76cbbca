//! The supervised actors of a node: the only place where the parts below meet.
//!
//! Rooms: `executor` the door through which actors write; `agent` this node as a place to run pods.

pub mod executor;
