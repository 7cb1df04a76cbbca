//! The published OpenAPI documents, version 2 and 3, made from the types and the resource table on demand.
//!
//! `types` renders the schemas, `operations` lists what can be asked of each path, `parameters` describes the query;
//! `v2` and `v3` put them into the form of each version,
//! `protobuf` encodes version 2. Making a document costs milliseconds and megabytes: callers
//! keep the encoded bytes, not the value.

#![allow(
    clippy::indexing_slicing,
    reason = "a missing field of a JSON value reads as null; only values made right here are written so"
)]

mod operations;
mod parameters;
mod protobuf;
mod types;
mod v2;
mod v3;

pub use protobuf::v2_protobuf;
pub use v2::document as v2;
pub use v3::{document as v3, index as v3_index};

#[cfg(test)]
mod tests;
