//! The Kubernetes language, pure: resource table, schema, defaults, validation, patch, printing. No I/O, no clock.
//!
//! Rooms: `resource` the table everything is driven by; `object` an object with typed views decoded on demand; `status`
//! the failure object; `decode` bodies in, `protobuf` those in
//! that form; `schema` shapes and facts of types; `default`, `strategy`, `validate` the
//! write path; `patch` the patch languages; `print` tables; `fields` field selectors; `events` the two faces of an event;
//! `discovery` and `openapi` documents.

pub mod decode;
pub mod default;
pub mod discovery;
pub mod events;
pub mod facts;
pub mod fields;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod print;
pub mod protobuf;
pub mod resource;
pub mod schema;
pub mod status;
pub mod strategy;
pub mod validate;
