//! Behaviour of the whole node, one file a behaviour, in one binary: real processes, containers, kubectl.

mod cluster {
    pub mod adoption;
    pub mod bad_input;
    pub mod kube_client;
    pub mod kubectl;
    pub mod node;
    pub mod pods;
    pub mod python;
    pub mod tutorial;
}

mod mesh;
mod network;
pub mod runtime_contract;
