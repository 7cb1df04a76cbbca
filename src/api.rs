//! The HTTP face: listeners, request path, registry. Calls handles; knows no actor.
//!
//! A request passes, in order: authentication, authorization, decoding, admission, strategy, store. `registry` is the
//! part below HTTP, which controllers use as well.

pub mod admission;
pub mod gateway;
pub mod identity;
mod language;
pub mod options;
pub mod query;
pub mod registry;
pub mod route;
