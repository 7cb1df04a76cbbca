//! The whole cluster in one deterministic thread: a seed decides workload and faults, then faults stop and all converges.
//!
//! Rooms: `run` lives, crashes and judgement; `life` one life of the node; `home` the machine that outlives it;
//! `clock` its time; `client`, `workload`, `watcher` the users; `history` what happened, as data; `judge` how things
//! stand at the end; `trace` every step; `mesh` a scenario of its own: many nodes' meshes on a simulated network; `cluster` another: their replicated stores; `nodes` whole nodes on these; `mutants` planted faults; `invariants` (in `tests/sim`, one file each).

pub mod client;
pub mod clock;
pub mod cluster;
pub mod gossip;
pub mod history;
pub mod home;
#[path = "../tests/sim/invariants/all.rs"]
pub mod invariants;
pub mod judge;
pub mod life;
pub mod mesh;
pub mod nodes;
pub mod run;
pub mod trace;
pub mod watcher;
pub mod workload;
