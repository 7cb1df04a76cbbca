//! Three to nine nodes with replicated stores in one deterministic thread: each a process with a mesh, a store and a disk
//! that lose power, are cut off, stopped and damaged; then all heals and must converge.
//!
//! Rooms: `run` the whole; `fleet` the machines and `site` one of them; `life` what runs in a process; `keeper` who keeps
//! the wanted voters; `witness` what replicas apply; `workload` what users do; `storm` what goes wrong; `history` what
//! happened, as plain values; `linear` whether answers can have come from one copy; `invariants` (in `tests/sim`, one
//! file each). Network, clocks and certificates are those of `sim::mesh`.

pub mod fleet;
pub mod history;
#[path = "../../tests/sim/invariants/cluster/all.rs"]
pub mod invariants;
pub mod keeper;
pub mod life;
pub mod linear;
pub mod run;
pub mod site;
pub mod storm;
#[cfg(test)]
mod tests;
pub mod witness;
pub mod workload;
