//! Whole nodes on the machines of `sim::cluster`: what a node's process runs above its store, with the shipped tree of
//! actors, and pods that are only pretended.
//!
//! Rooms: `body` what of a machine pods need; `boot` a node's tree on it; `users` who deploy; `census` what runs on all
//! machines, and how things stand at the end. Machines, faults, time and network are the cluster's.

pub mod body;
pub mod boot;
pub mod census;
pub mod users;
