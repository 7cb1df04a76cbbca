//! Every decision, pure: controllers, scheduler, pod lifecycle. A plan is made from a snapshot, a time and a random
//! source, all arguments; actors carry it out.
//!
//! Rooms: `snapshot` what planners see, `command` what they ask for, `controller` their shape, `queue` when which key is
//! due; `write`, `select`, `owner`, `readiness` what they share; the rest is one room a controller.

pub mod command;
pub mod controller;
pub mod deployment;
mod owner;
pub mod pod;
pub mod queue;
mod readiness;
pub mod replicaset;
pub mod scheduler;
mod select;
pub mod snapshot;
mod write;

pub use command::Command;
pub use controller::{Controller, Plan};
pub use snapshot::Snapshot;

/// Every controller.
pub fn controllers() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(scheduler::Scheduler),
        Box::new(deployment::Deployments),
        Box::new(replicaset::ReplicaSets),
        Box::new(replicaset::ReplicationControllers),
    ]
}
