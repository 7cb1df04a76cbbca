//! The supervised actors of a node: the only place where the parts below meet.
//!
//! Rooms: `tree` what each child's failure means; `supervisor` carries that out; `service` a long task as an actor;
//! `executor` the door through which actors write; `agent` this node as a place to run pods.

pub mod agent;
pub mod executor;
pub mod service;
pub mod supervisor;
pub mod tree;
