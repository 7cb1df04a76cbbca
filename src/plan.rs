//! Every decision, pure: controllers, scheduler, pod lifecycle. A plan is made from a snapshot, a time and a random
//! source, all arguments; actors carry it out.
//!
//! Rooms: `snapshot` what planners see, `command` what they ask for, `controller` their shape, `queue` when which key is
//! due, `pace` what can wait its turn; `write`, `select`, `owner`, `readiness`, `backend`, `disruption` what they share;
//! `cidr` which node gets which pod addresses, `routes` how nodes reach each other's; `liveness` which nodes are doubted
//! and which are declared dead, `fencing` what a node stops by itself; `authority` when the cluster's authority is
//! replaced; `pod` the life of a pod on its node; the rest is one room a controller.

pub mod authority;
mod backend;
pub mod cidr;
pub mod command;
pub mod controller;
pub mod deployment;
mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod event_ttl;
pub mod fencing;
pub mod garbage;
pub mod joining;
pub mod kubernetes_service;
pub mod liveness;
pub mod namespace;
pub mod node;
mod owner;
pub mod pace;
pub mod placement;
pub mod pod;
pub mod pod_gc;
pub mod queue;
pub mod quorum;
mod readiness;
pub mod recovery;
pub mod registration;
pub mod replicaset;
pub mod restore;
pub mod routes;
pub mod scheduler;
mod select;
pub mod service_account;
pub mod snapshot;
pub mod taint_eviction;
#[cfg(test)]
mod tests;
mod write;

use std::net::IpAddr;

pub use command::Command;
pub use controller::{Controller, Plan};
pub use snapshot::Snapshot;

/// What controllers must be told of the cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The certificate that clients inside the cluster trust the API by, in PEM.
    pub ca_pem: String,
    /// Where the API answers, as pods reach it.
    pub api_address: IpAddr,
    /// Its port.
    pub api_port: u16,
    /// Address of the `kubernetes` service; the API chooses one where not given.
    pub api_service_ip: Option<IpAddr>,
}

/// Every controller.
pub fn controllers(cluster: &Cluster) -> Vec<Box<dyn Controller>> {
    let api = (cluster.api_address, cluster.api_port, cluster.api_service_ip);
    vec![
        Box::new(namespace::Namespaces),
        Box::new(service_account::ServiceAccounts::new(cluster.ca_pem.clone())),
        Box::new(scheduler::Scheduler),
        Box::new(deployment::Deployments),
        Box::new(replicaset::REPLICA_SETS),
        Box::new(replicaset::REPLICATION_CONTROLLERS),
        Box::new(garbage::GarbageCollector),
        Box::new(endpoints::EndpointsOfServices),
        Box::new(endpointslice::EndpointSlices),
        Box::new(kubernetes_service::KubernetesService::new(api.0, api.1, api.2)),
        Box::new(node::Nodes),
        Box::new(taint_eviction::TaintEviction),
        Box::new(pod_gc::PodGc),
        Box::new(event_ttl::EventTtl),
    ]
}
