//! Values that every layer speaks: ids, keys, revisions, selectors, quantities, time, address ranges. Pure; imports nothing above.

pub mod cidr;
pub mod id;
pub mod key;
pub mod quantity;
pub mod selector;
pub mod time;

pub use cidr::Cidr;
pub use id::{Epoch, NodeId, Revision, Uid};
pub use key::{ObjectKey, ResourceId, Scope};
pub use quantity::Quantity;
pub use time::Timestamp;
