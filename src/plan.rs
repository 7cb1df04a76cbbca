//! Every decision, pure: controllers, scheduler, pod lifecycle. A plan is made from a snapshot, a time and a random
//! source, all arguments; actors carry it out.

pub mod command;
pub mod controller;
pub mod node;
pub mod pod;
pub mod snapshot;

pub use command::Command;
pub use controller::{Controller, Plan};
pub use snapshot::Snapshot;
