//! Many meshes on a simulated network in one deterministic thread: membership, join, identity and remote calls under
//! loss, cuts, crashes, stops and wrong clocks; then all heals and must converge.
//!
//! Rooms: `run` the whole; `fleet` the machines and `machine` a process on one; `net` the network and `fabric` how a
//! mesh sees it; `time` clocks; `authority` certificates; `faults` what goes wrong; `workload` what nodes do; `history`
//! what happened, as plain values; `invariants` (in `tests/sim`, one file each).

pub mod authority;
pub mod fabric;
pub mod faults;
pub mod fleet;
pub mod history;
#[path = "../../tests/sim/invariants/mesh/all.rs"]
pub mod invariants;
pub mod machine;
pub mod net;
pub mod run;
pub mod time;
pub mod workload;

#[cfg(test)]
mod tests;
