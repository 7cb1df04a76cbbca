//! The whole cluster in one deterministic thread: a seed decides workload and faults, then faults stop and all converges.
//!
//! Rooms: `history` what happened, as data; `invariants` (in `tests/sim`, one file each) judge it.

pub mod client;
pub mod history;
#[path = "../tests/sim/invariants/all.rs"]
pub mod invariants;
pub mod trace;
pub mod watcher;
pub mod workload;
