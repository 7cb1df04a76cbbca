//! The HTTP face: listeners, request path, registry. Calls handles; knows no actor.
//!
//! A request passes, in order: authentication, authorization, decoding, admission, strategy, store. `service` is that
//! path; `listen` brings connections to it; `verbs`, `log`, `exec`, `review`, `cluster`, `documents` and `health` are
//! what it leads to. `registry` is the part below HTTP, which controllers and agents use as well; `language` is its seam to `kube`.

pub mod admission;
mod answer;
pub mod authn;
pub mod authz;
pub mod backup;
pub mod body;
pub mod cluster;
mod compress;
mod documents;
mod exec;
pub mod gateway;
pub mod health;
pub mod identity;
mod language;
pub mod listen;
mod log;
pub mod metrics;
pub mod negotiate;
pub mod options;
mod pod;
pub mod query;
pub mod registry;
mod review;
pub mod route;
pub mod service;
mod stream;
mod verbs;
