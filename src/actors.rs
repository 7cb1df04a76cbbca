//! The supervised actors of a node: the only place where the parts below meet.
//!
//! Rooms: `tree` what each child's failure means; `supervisor` carries that out; `service` a long task as an actor;
//! `executor` the door through which actors write; `mirror` the node's copy of every object; `cluster` its part in the cluster, `reach` pods of other nodes, `liveness` who is declared dead; `control` the shell of
//! each controller; `agent` this node as a place to run pods.

pub mod cluster;
pub mod control;
pub mod executor;
pub mod liveness;
pub mod mirror;
pub mod node;
pub mod reach;

pub mod agent;
pub mod service;
pub mod settings;
pub mod supervisor;
pub mod tree;
