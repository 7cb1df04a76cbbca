//! Shoal: a container orchestrator with the Kubernetes API. This file is the map.
//!
//! Layers, top first; a module imports only from layers below it (`tests/tidy.rs` enforces the edges):
//!
//! | module | job |
//! | --- | --- |
//! | [`cli`] | the command line: `shoal up`, `apply`, `get`, ... |
//! | [`actors`] | supervised actors: the only place where the parts below meet |
//! | [`api`] | the HTTP face; calls handles, knows no actor |
//! | [`sim`] | the whole cluster in one deterministic thread |
//! | [`runtime`], [`mesh`], [`store`] | drivers: containers, network and images; who is who; the replicated log |
//! | [`plan`] | every decision, pure: scheduler, controllers, pod lifecycle |
//! | [`kube`] | the Kubernetes language, pure: resources, schema, patch, printing |
//! | [`world`] | clock, randomness and disk as traits, with the one real implementation of each |
//! | [`model`] | ids, keys, revisions, selectors, quantities, time values |

pub mod actors;
pub mod api;
pub mod cli;
pub mod kube;
pub mod mesh;
pub mod model;
pub mod plan;
pub mod runtime;
pub mod sim;
pub mod store;
pub mod world;
